# Postgres for the state of media items. RDS makes and turns over the administrator's password itself.

locals {
  administrator = "kinstream_admin"

  # Known to whoever reads this, so for an emulator on somebody's own machine alone.
  emulated_password = var.managed_password ? null : "${var.prefix}-administrator"
}

resource "aws_db_subnet_group" "this" {
  name       = "${var.prefix}-catalog"
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}-catalog"
  description = "The catalog database"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.prefix}-catalog" }

  dynamic "ingress" {
    for_each = var.client_security_group_ids

    content {
      description     = "Postgres from ${ingress.key}"
      protocol        = "tcp"
      from_port       = 5432
      to_port         = 5432
      security_groups = [ingress.value]
    }
  }
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.prefix}-catalog"
  family = "postgres15"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "500"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  # checkov:skip=CKV_AWS_161:services log in with a password from Secrets Manager, as Postgres on a laptop has it
  # checkov:skip=CKV_AWS_157:a choice of the environment; prod has its standby
  # checkov:skip=CKV_AWS_293:a choice of the environment; prod is protected
  # checkov:skip=CKV_AWS_354:Performance Insights hold no values of parameters; its own key is enough
  # checkov:skip=CKV_AWS_118:Performance Insights tell what Enhanced Monitoring would, without a role more
  identifier     = "${var.prefix}-catalog"
  engine         = "postgres"
  engine_version = "15"
  instance_class = var.instance_class
  db_name        = "kinstream"

  allocated_storage     = var.storage_gb
  max_allocated_storage = var.storage_gb * 4
  storage_encrypted     = true

  username                    = local.administrator
  manage_master_user_password = var.managed_password ? true : null
  password                    = local.emulated_password

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  multi_az               = var.multi_az
  publicly_accessible    = false

  backup_retention_period         = 7
  copy_tags_to_snapshot           = true
  delete_automated_backups        = !var.keep
  deletion_protection             = var.keep
  skip_final_snapshot             = !var.keep
  final_snapshot_identifier       = "${var.prefix}-catalog-last"
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
}

# Looks as the one that RDS makes.
resource "aws_secretsmanager_secret" "administrator" {
  # checkov:skip=CKV_AWS_149:an emulator's
  # checkov:skip=CKV2_AWS_57:an emulator's
  count = var.managed_password ? 0 : 1

  name                    = "${var.prefix}/catalog-administrator"
  description             = "The administrator of an emulated database."
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "administrator" {
  count = var.managed_password ? 0 : 1

  secret_id     = aws_secretsmanager_secret.administrator[0].id
  secret_string = jsonencode({ username = local.administrator, password = local.emulated_password })
}
