output "service_role" {
  description = "Name of EMR's role."
  value       = aws_iam_role.service.name
}

output "instance_profile" {
  description = "Name of the nodes' instance profile."
  value       = aws_iam_instance_profile.nodes.name
}

output "security_configuration" {
  description = "Name of the security configuration, empty where there is none."
  value       = one(aws_emr_security_configuration.this[*].name)
}

output "scheduler_policy" {
  description = "What the scheduler may do, as a policy document."
  value       = one(concat(data.aws_iam_policy_document.job_runs[*].json, var.serverless == null ? [data.aws_iam_policy_document.clusters.json] : []))
}

output "rule_arns" {
  description = "ARNs of the rules that send to the events' queue, from their names."
  value       = { for name in keys(local.patterns) : name => "arn:aws:events:${var.region}:${var.account_id}:rule/${var.prefix}-${name}" }
}

output "serverless_application_id" {
  description = "The application of EMR Serverless. Null: there is none."
  value       = one(aws_emrserverless_application.this[*].id)
}

output "serverless_role_arn" {
  description = "The role of its jobs. Null: there is none."
  value       = one(aws_iam_role.job[*].arn)
}
