variable "prefix" {
  description = "First part of every name."
  type        = string
}

variable "tables" {
  description = "Tables by short name, with their indexes. Keys are the strings pk and sk; expires_at is the TTL."
  type = map(object({
    indexes = optional(map(object({
      partition = string
      sort      = string
      sort_kind = optional(string, "N")
      keys_only = optional(bool, false)
    })), {})
  }))
}

variable "buckets" {
  description = "Buckets by short name."
  type = map(object({
    expire_days   = optional(number)
    used_by_pages = optional(bool, false)
    versioned     = optional(bool, false)
  }))
}

variable "notify_queue_arns" {
  description = "Queue that hears of each object created, by the bucket's short name."
  type        = map(string)
  default     = {}
}

variable "keep" {
  description = "Protect tables and filled buckets from destroy."
  type        = bool
  default     = true
}

variable "refuse_plain_http" {
  description = "Deny requests without TLS. False for an emulator that speaks plain http."
  type        = bool
  default     = true
}
