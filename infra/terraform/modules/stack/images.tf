locals {
  # One image a service; the session-worker's runs as a service for each processor.
  images = {
    for name in ["ingest-api", "session-worker", "media-worker", "recommender-trigger"] : name =>
    var.image_registry == null
    ? "${var.account_id}.dkr.ecr.${var.region}.amazonaws.com/${var.prefix}/${name}:${var.image_tag}"
    : "${var.image_registry}/${name}:${var.image_tag}"
  }
}

resource "aws_ecr_repository" "this" {
  # checkov:skip=CKV_AWS_136:images hold no secrets; ECR's own key is enough
  for_each = local.images

  name                 = "${var.prefix}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.keep

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Enough to go back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 50 }
      action       = { type = "expire" }
    }]
  })
}
