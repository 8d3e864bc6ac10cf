variable "prefix" {
  description = "First part of every name. Buckets are named by it, so no other account may have it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.prefix))
    error_message = "prefix must be 3 to 31 small letters, digits and dashes, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "account_id" {
  description = "AWS account."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits."
  }
}

variable "zones" {
  description = "Availability zones, two or more."
  type        = list(string)
}

variable "processors_file" {
  description = "The generated list of processors."
  type        = string
}

variable "keep" {
  description = "Protect what holds data from destroy: true for every deployment that somebody would miss."
  type        = bool
  default     = true
}

variable "image_tag" {
  description = "Tag of the four services' images, like the commit that they were built from. Tags are never moved."
  type        = string
}

variable "image_registry" {
  description = "Where images come from, where that is not this account's ECR. Null: ECR."
  type        = string
  default     = null
}

variable "run_services" {
  description = "Run the services. False for the first apply: images and secrets have to be there first."
  type        = bool
  default     = true
}

variable "settings" {
  description = "Settings beside those that follow from the infrastructure, by service (ingest-api, session-worker, media-worker, recommender-trigger) or `shared`: environment variable and value. They become SSM parameters."
  type        = map(map(string))
  default     = {}

  validation {
    condition = alltrue([
      for service in keys(var.settings) :
      contains(["shared", "ingest-api", "session-worker", "media-worker", "recommender-trigger"], service)
    ])
    error_message = "settings are by service: shared, ingest-api, session-worker, media-worker or recommender-trigger."
  }

  validation {
    condition     = alltrue(flatten([for values in var.settings : [for name in keys(values) : startswith(name, "KINSTREAM_")]]))
    error_message = "settings are named as the environment variables are: KINSTREAM_..."
  }

  validation {
    condition     = alltrue(flatten([for values in var.settings : [for name in keys(values) : !contains(local.not_settings, name)]]))
    error_message = "these are no settings, for Terraform says them itself or they are secrets: ${join(", ", local.not_settings)}."
  }
}

variable "sizes" {
  description = "cpu (units, 1024 are a vCPU), memory_mb and disk_gb of a task, by service: those of all processors by session-worker, those of one by session-worker-NAME."
  type        = map(map(number))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.sizes), concat(keys(local.kinds), values(local.kinds)))) == 0
    error_message = "sizes names a service that there is not; there are ${join(", ", sort(distinct(concat(keys(local.kinds), values(local.kinds)))))}."
  }

  validation {
    condition     = length(setsubtract(flatten([for size in var.sizes : keys(size)]), ["cpu", "memory_mb", "disk_gb"])) == 0
    error_message = "a size has cpu, memory_mb and disk_gb."
  }
}

variable "scaling" {
  description = "How many tasks, by service as in sizes: min_tasks, max_tasks (which it can never pass), seconds_per_message and max_delay_seconds (backlog), cpu_percent, in_after_seconds and out_after_seconds."
  type        = map(map(number))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.scaling), concat(keys(local.kinds), values(local.kinds)))) == 0
    error_message = "scaling names a service that there is not; there are ${join(", ", sort(distinct(concat(keys(local.kinds), values(local.kinds)))))}."
  }

  validation {
    condition = length(setsubtract(flatten([for scaling in var.scaling : keys(scaling)]), [
      "min_tasks", "max_tasks", "seconds_per_message", "max_delay_seconds", "cpu_percent", "in_after_seconds",
      "out_after_seconds",
    ])) == 0
    error_message = "scaling has min_tasks, max_tasks, seconds_per_message, max_delay_seconds, cpu_percent, in_after_seconds and out_after_seconds."
  }
}

variable "spot_share" {
  description = "Share of workers on Fargate Spot, 0 to 1. The API is never on Spot."
  type        = number
  default     = 0.7
}

variable "architecture" {
  description = "What images are built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "certificate_arn" {
  description = "ACM certificate of the API's domain. Null: plain http, for trying out only."
  type        = string
  default     = null
}

variable "catalog" {
  description = "Size of the catalog, and whether it has a standby."
  type = object({
    instance_class = optional(string, "db.t4g.small")
    storage_gb     = optional(number, 20)
    multi_az       = optional(bool, true)
  })
  default = {}
}

variable "cache" {
  description = "Size of the cache, and nodes beside the first."
  type = object({
    node_type = optional(string, "cache.t4g.micro")
    replicas  = optional(number, 1)
  })
  default = {}
}

variable "search" {
  description = "OpenSearch for logs. Null: CloudWatch alone."
  type = object({
    instance_type = optional(string, "t3.small.search")
    instances     = optional(number, 2)
    storage_gb    = optional(number, 20)
  })
  default = null
}

variable "sidecars" {
  description = "Images of the sidecars, from repositories of this account. Null: without."
  type = object({
    adot            = optional(string)
    log_router      = optional(string)
    repository_arns = optional(list(string), [])
  })
  default = {}
}

variable "emr_subnet_ids" {
  description = "Subnets for training clusters. They need a way to PyPI. Empty: no training."
  type        = list(string)
  default     = []
}

variable "emr_serverless" {
  description = "Train on EMR Serverless: the most that its application may take. Null: on clusters, in emr_subnet_ids."
  type        = object({ cpu = optional(string, "16 vCPU"), memory = optional(string, "64 GB") })
  default     = null
}

variable "emr_peer" {
  description = "A VPC for EMR with a way out of its own, in this account and region, to peer with. The route back is its own to make. Null: none."
  type        = object({ vpc_id = string, cidr = string })
  default     = null
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds every task's roles. Null: none."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "Address that hears of alarms. Null: none."
  type        = string
  default     = null
}

variable "budget" {
  description = "Dollars a month, above which people are told. Null: no budget."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "lacks" {
  description = "What the place to deploy to has not. All false on AWS. An emulator lacks some services, and speaks plain http."
  type = object({
    tls                        = optional(bool, false)
    autoscaling                = optional(bool, false)
    emr_security_configuration = optional(bool, false)
    xray                       = optional(bool, false)
    prefix_lists               = optional(bool, false)
    managed_passwords          = optional(bool, false)
    # It takes a batch of calls for another action than the calls, and knows no tags of clusters.
    batch_permissions = optional(bool, false)
    emr_tags          = optional(bool, false)
  })
  default = {}
}
