variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region of the clusters."
  type        = string
}

variable "account_id" {
  description = "Account of the clusters."
  type        = string
}

variable "archive_bucket" {
  description = "Bucket that clusters read events from."
  type        = string
}

variable "training_bucket" {
  description = "Bucket of jobs, results and logs."
  type        = string
}

variable "security_configuration" {
  description = "Make EMR's security configuration. False where an emulator has none."
  type        = bool
  default     = true
}

variable "tags_known" {
  description = "Bound what the scheduler may do by the clusters' tags. False where an emulator does not know them."
  type        = bool
  default     = true
}

variable "events_queue_arn" {
  description = "Queue that hears of changes, made from a name: it lets these rules in."
  type        = string
}

variable "serverless" {
  description = "The most that an application of EMR Serverless may take. Null: clusters instead."
  type        = object({ cpu = string, memory = string })
  default     = null
}
