variable "prefix" {
  description = "First part of every name. Buckets are named by it, so no other account may have it."
  type        = string
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-east-1"
}

variable "zones" {
  description = "Availability zones."
  type        = list(string)
  default     = ["us-east-1a", "us-east-1b"]
}

variable "image_tag" {
  description = "Tag of the four services' images, like the commit that they were built from."
  type        = string
}

variable "image_registry" {
  description = "Where images come from, where that is not this account's ECR. Null: ECR."
  type        = string
  default     = null
}

variable "run_services" {
  description = "False for the first apply: images and secrets have to be there first."
  type        = bool
  default     = true
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

variable "alarm_email" {
  description = "Address that hears of alarms and of the budget. Null: none."
  type        = string
  default     = null
}

variable "emr_subnet_ids" {
  description = "Subnets for training clusters. They need a way to PyPI. Empty: no training."
  type        = list(string)
  default     = []
}

variable "emr_peer" {
  description = "A VPC of EMR's own to peer with: {vpc_id, cidr}. Null: none."
  type        = object({ vpc_id = string, cidr = string })
  default     = null
}

variable "emr_serverless" {
  description = "Train on EMR Serverless: {} for a small application. Null: on clusters."
  type        = object({ cpu = optional(string, "16 vCPU"), memory = optional(string, "64 GB") })
  default     = null
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds every task's roles. Null: none."
  type        = string
  default     = null
}

variable "settings" {
  description = "Further settings by service or `shared`: environment variable and value."
  type        = map(map(string))
  default     = {}
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

variable "search" {
  description = "OpenSearch for logs: {} for a small one. Null: CloudWatch alone."
  type = object({
    instance_type = optional(string, "t3.small.search")
    instances     = optional(number, 1)
    storage_gb    = optional(number, 20)
  })
  default = null
}

variable "processors_file" {
  description = "The generated list of processors."
  type        = string
  default     = "../../processors.json"
}

variable "emulator" {
  description = "An emulator to deploy to instead of AWS: its URL as seen from here, and as seen by tasks; whether it enforces IAM."
  type        = object({ url = string, seen_by_tasks = string, checks_iam = optional(bool, false) })
  default     = null
}
