variable "name" {
  description = "Full name of the queue; its dead-letter queue is called the same with -dlq."
  type        = string
}

variable "visibility_timeout_seconds" {
  description = "How long a received message stays unseen."
  type        = number
}

variable "max_receive_count" {
  description = "Deliveries after which a message goes to the dead-letter queue."
  type        = number
  default     = 5
}

variable "topic" {
  description = "Topic that the queue subscribes to, with raw delivery. Null: none."
  type        = object({ arn = string })
  default     = null
}

variable "types" {
  description = "Event types that the subscription lets through. Null: all."
  type        = list(string)
  default     = null
}

variable "bucket_arn" {
  description = "Bucket that may send its notifications here. Null: none."
  type        = string
  default     = null
}

variable "rule_arns" {
  description = "Rules of EventBridge that may send here."
  type        = list(string)
  default     = []
}

variable "oldest_message_seconds" {
  description = "Age of the oldest message at which people are told."
  type        = number
  default     = 900
}

variable "most_waiting" {
  description = "Waiting messages at which people are told, once it has been more for five minutes."
  type        = number
}

variable "alarm_topic_arn" {
  description = "Topic that alarms go to."
  type        = string
}

variable "refuse_plain_http" {
  description = "Deny requests without TLS. False for an emulator that speaks plain http."
  type        = bool
  default     = true
}
