variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "vpc_id" {
  description = "VPC to live in."
  type        = string
}

variable "vpc_cidr" {
  description = "Addresses of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Public subnets, in two or more zones."
  type        = list(string)
}

variable "port" {
  description = "Port of a task."
  type        = number
}

variable "certificate_arn" {
  description = "ACM certificate of the domain. Null: plain http, for trying out only."
  type        = string
  default     = null
}

variable "requests_per_5_minutes" {
  description = "Requests of one address in 5 minutes, beyond which it is refused."
  type        = number
  default     = 20000
}

variable "keep" {
  description = "Refuse to destroy."
  type        = bool
  default     = true
}
