output "name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "task_role_arn" {
  description = "Role of its tasks."
  value       = aws_iam_role.task.arn
}

output "task_definition" {
  description = "Family and revision of its tasks."
  value       = "${aws_ecs_task_definition.this.family}:${aws_ecs_task_definition.this.revision}"
}

output "scaling" {
  description = "The arithmetic, for people and tests."
  value = {
    min_tasks        = local.min_tasks
    max_tasks        = local.max_tasks
    first_tasks      = local.first_tasks
    backlog_per_task = local.follows_queue ? local.backlog_per_task : null
    expression       = local.follows_queue ? local.per_task : null
    wakes_up         = local.sleeps
  }
}
