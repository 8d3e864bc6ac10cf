variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "vpc_id" {
  description = "VPC to live in."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two or more zones."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "Security groups that may connect, by the name of the service."
  type        = map(string)
}

variable "region" {
  description = "Region of the domain."
  type        = string
}

variable "account_id" {
  description = "Account of the domain."
  type        = string
}

variable "instance_type" {
  description = "Size of a node."
  type        = string
  default     = "t3.small.search"
}

variable "instances" {
  description = "Nodes; two or more lie in two zones."
  type        = number
  default     = 2
}

variable "storage_gb" {
  description = "Disk of a node."
  type        = number
  default     = 20
}
