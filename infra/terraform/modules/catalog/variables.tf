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

variable "instance_class" {
  description = "Size of the database."
  type        = string
  default     = "db.t4g.small"
}

variable "storage_gb" {
  description = "Disk to begin with; it grows to four times that by itself."
  type        = number
  default     = 20
}

variable "multi_az" {
  description = "Keep a standby in a second zone."
  type        = bool
  default     = true
}

variable "keep" {
  description = "Refuse to destroy, and take a last snapshot."
  type        = bool
  default     = true
}

variable "managed_password" {
  description = "Let RDS make and turn over the administrator's password. False for an emulator, which cannot."
  type        = bool
  default     = true
}
