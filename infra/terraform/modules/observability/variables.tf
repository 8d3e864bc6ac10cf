variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region of the dashboard's metrics."
  type        = string
}

variable "account_id" {
  description = "Account that the budget watches."
  type        = string
}

variable "alarm_topic_arn" {
  description = "Topic that alarms go to."
  type        = string
}

variable "alarm_email" {
  description = "Address that hears of alarms, once it has confirmed. Null: none."
  type        = string
  default     = null
}

variable "queues" {
  description = "Queues by short name: full name, the names of their alarms, and whether somebody outside feels it when one stands still."
  type = map(object({
    name    = string
    alarms  = object({ dead_letters = string, depth = string, oldest_message = string })
    is_felt = optional(bool, true)
  }))
}

variable "tables" {
  description = "Full names of the tables by short name."
  type        = map(string)
}

variable "events_topic" {
  description = "Name of the topic of events."
  type        = string
}

variable "load_balancer" {
  description = "How CloudWatch names the load balancer and its targets."
  type        = object({ load_balancer = string, target_group = string })
}

variable "catalog_id" {
  description = "Name of the catalog's instance."
  type        = string
}

variable "cluster_name" {
  description = "ECS cluster."
  type        = string
}

variable "services" {
  description = "Fewest tasks of each ECS service."
  type        = map(number)
}

variable "has_collector" {
  description = "Whether what services measure themselves comes to CloudWatch: there is a collector beside each."
  type        = bool
}

variable "budget" {
  description = "Dollars a month, above which people are told. Null: no budget."
  type        = number
  default     = null
}
