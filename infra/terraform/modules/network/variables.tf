variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15))
    error_message = "cidr must be a network that can be cut into 16 subnets, like 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, two or more."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 6
    error_message = "zones must name 2 to 6 availability zones."
  }
}

variable "region" {
  description = "Region of the VPC."
  type        = string
}

variable "account_id" {
  description = "Account of the VPC."
  type        = string
}

variable "interface_endpoints" {
  description = "AWS services that tasks reach inside the VPC, so that no NAT is needed."
  type        = set(string)
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
  default     = 30
}

variable "emr_peer" {
  description = "A VPC for EMR with a way out of its own, to peer with. Null: none."
  type        = object({ vpc_id = string, cidr = string })
  default     = null
}
