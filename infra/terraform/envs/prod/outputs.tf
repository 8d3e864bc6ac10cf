output "url" {
  description = "Where clients send to."
  value       = module.stack.url
}

output "repositories" {
  description = "Where images are pushed to."
  value       = module.stack.repositories
}

output "secrets" {
  description = "Secrets whose values a person puts, by environment variable."
  value       = module.stack.secrets
}

output "catalog" {
  description = "Where the database is, and where RDS keeps its administrator's password."
  value       = module.stack.catalog
}

output "cluster" {
  description = "ECS cluster."
  value       = module.stack.cluster
}

output "task_definitions" {
  description = "Family and revision of each service's tasks."
  value       = module.stack.task_definitions
}

output "migrate" {
  description = "Command that runs the one-off task by which the catalog is made ready, and tells its ARN."
  value       = module.stack.migrate
}

output "task_network" {
  description = "Where a one-off task runs, like the one that migrates."
  value       = module.stack.task_network
}

output "scaling" {
  description = "Fewest and most tasks of each service, and the backlog that one task is given."
  value       = module.stack.scaling
}
