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

variable "node_type" {
  description = "Size of a node."
  type        = string
  default     = "cache.t4g.micro"
}

variable "replicas" {
  description = "Nodes beside the first, each in a zone of its own."
  type        = number
  default     = 1
}

variable "tls" {
  description = "Encrypt connections. False for an emulator, whose Redis speaks plain."
  type        = bool
  default     = true
}
