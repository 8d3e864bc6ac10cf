variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "name" {
  description = "Short name of the service, like ingest-api or session-worker-safety."
  type        = string
}

variable "region" {
  description = "Region of the service."
  type        = string
}

variable "account_id" {
  description = "Account of the service."
  type        = string
}

variable "cluster_name" {
  description = "ECS cluster to run in."
  type        = string
}

variable "image" {
  description = "Image with its tag or digest."
  type        = string
}

variable "readable" {
  description = "What a task is started from, as ARNs: repositories of its images, parameters, secrets."
  type = object({
    repositories = list(string)
    parameters   = list(string)
    secrets      = list(string)
  })
}

variable "environment" {
  description = "What belongs to the task itself and is no configuration, like the path of its ready file."
  type        = map(string)
  default     = {}
}

variable "parameters" {
  description = "ARN of the SSM parameter that each environment variable comes from."
  type        = map(string)
}

variable "secrets" {
  description = "ARN of the secret that each environment variable comes from."
  type        = map(string)
  default     = {}
}

variable "policy" {
  description = "What the service may do, as a policy document."
  type        = string
}

variable "trust_policy" {
  description = "Who may take its roles, as a policy document."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds every role. Null: none."
  type        = string
  default     = null
}

variable "vpc" {
  description = "Where tasks live."
  type = object({
    subnet_ids        = list(string)
    security_group_id = string
  })
}

variable "listener" {
  description = "The port that tasks serve, and where they are registered. Null: they serve none."
  type = object({
    port             = number
    target_group_arn = string
  })
  default = null
}

variable "size" {
  description = "CPU units (1024 are a vCPU), memory and disk of a task."
  type = object({
    cpu       = optional(number, 512)
    memory_mb = optional(number, 1024)
    disk_gb   = optional(number, 21)
  })
  default = {}
}

variable "writable" {
  description = "Folders that a task can write to, by the name of their volume. The rest of its files are read-only."
  type        = map(string)
  default     = { tmp = "/tmp" }
}

variable "architecture" {
  description = "What images are built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "spot_share" {
  description = "Of the tasks beyond the first on_demand_tasks, the share on Fargate Spot, 0 to 1."
  type        = number
  default     = 0

  validation {
    condition     = var.spot_share >= 0 && var.spot_share <= 1
    error_message = "spot_share must lie between 0 and 1."
  }
}

variable "on_demand_tasks" {
  description = "Tasks that are never on Spot."
  type        = number
  default     = 1
}

variable "stop_timeout_seconds" {
  description = "Between SIGTERM and SIGKILL; Fargate gives 120 at most."
  type        = number
  default     = 30

  validation {
    condition     = var.stop_timeout_seconds >= 2 && var.stop_timeout_seconds <= 120
    error_message = "stop_timeout_seconds must lie between 2 and 120."
  }
}

variable "scaling" {
  description = "How many tasks there may be, and what they follow: the backlog of queues, or the CPU. A task works through a message in seconds_per_message; none shall wait longer than max_delay_seconds."
  type = object({
    min_tasks           = optional(number, 1)
    max_tasks           = optional(number, 10)
    queue_names         = optional(list(string), [])
    seconds_per_message = optional(number, 0.1)
    max_delay_seconds   = optional(number, 30)
    cpu_percent         = optional(number, 50)
    in_after_seconds    = optional(number, 300)
    out_after_seconds   = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.scaling.min_tasks >= 0 && var.scaling.seconds_per_message > 0 && var.scaling.max_delay_seconds > 0
    error_message = "min_tasks must not be negative; seconds_per_message and max_delay_seconds must be above 0."
  }
}

variable "autoscaling" {
  description = "Scale. False where an emulator cannot: then min_tasks run, and at least one."
  type        = bool
  default     = true
}

variable "rollback_alarms" {
  description = "Alarms that roll a deployment back."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "sidecars" {
  description = "Images of the sidecars, from repositories of this account: tasks have no way to public ones. Null: without. adot is the AWS distribution of the OpenTelemetry collector, log_router is AWS for Fluent Bit."
  type = object({
    adot       = optional(string)
    log_router = optional(string)
  })
  default = {}
}

variable "search" {
  description = "The OpenSearch domain that the log router writes to: its host name. Null: CloudWatch."
  type        = object({ endpoint = string })
  default     = null
}
