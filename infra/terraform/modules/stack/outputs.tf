output "url" {
  description = "Where clients send to."
  value       = module.api.url
}

output "repositories" {
  description = "Where images are pushed to."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "secrets" {
  description = "Secrets whose values a person puts, by environment variable."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.name }
}

output "catalog" {
  description = "Where the database is, and where RDS keeps its administrator's password."
  value = {
    address              = module.catalog.address
    port                 = module.catalog.port
    administrator_secret = module.catalog.administrator_secret_arn
  }
}

output "cluster" {
  description = "ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "task_definitions" {
  description = "Family and revision of each service's tasks."
  value       = { for name, service in module.service : name => service.task_definition }
}

output "migrate" {
  description = "Command that runs the one-off task by which the catalog is made ready, and tells its ARN."
  value = join(" ", [
    "aws ecs run-task --cluster ${aws_ecs_cluster.this.name} --task-definition ${aws_ecs_task_definition.migrate.family}",
    "--launch-type FARGATE --network-configuration",
    "'awsvpcConfiguration={subnets=[${join(",", module.network.private_subnet_ids)}],securityGroups=[${aws_security_group.service["ingest-api"].id}]}'",
    "--query 'tasks[0].taskArn' --output text",
  ])
}

output "task_network" {
  description = "Where a one-off task runs, like the one that migrates."
  value = {
    subnets         = module.network.private_subnet_ids
    security_groups = { for name, group in aws_security_group.service : name => group.id }
  }
}

output "scaling" {
  description = "Fewest and most tasks of each service, and the backlog that one task is given."
  value       = { for name, service in module.service : name => service.scaling }
}
