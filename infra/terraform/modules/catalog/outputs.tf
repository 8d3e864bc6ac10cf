output "identifier" {
  description = "Name of the instance, as its metrics have it."
  value       = aws_db_instance.this.identifier
}

output "address" {
  description = "Host name."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port."
  value       = aws_db_instance.this.port
}

output "administrator_secret_arn" {
  description = "Where RDS keeps the administrator's password."
  value       = var.managed_password ? one(aws_db_instance.this.master_user_secret[*].secret_arn) : one(aws_secretsmanager_secret_version.administrator[*].arn)
}
