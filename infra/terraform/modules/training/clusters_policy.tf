# What the scheduler may do with clusters; joined to its task role where it launches them.
data "aws_iam_policy_document" "clusters" {
  # These two know no resource: EMR has no ARN for a cluster before it is there, nor for a list.
  statement {
    sid       = "FindClusters"
    actions   = ["elasticmapreduce:ListClusters"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid       = "LaunchClusters"
    actions   = ["elasticmapreduce:RunJobFlow"]
    resources = ["*"]

    dynamic "condition" {
      for_each = var.tags_known ? [1] : []

      content {
        test     = "StringEquals"
        variable = "aws:RequestTag/kinstream-deployment"
        values   = [var.prefix]
      }
    }
  }

  # What a launch asks for beside the cluster: its tags, and that it ends when it idles.
  statement {
    sid       = "TagClusters"
    actions   = ["elasticmapreduce:AddTags", "elasticmapreduce:PutAutoTerminationPolicy"]
    resources = [local.clusters_arn]
  }

  # Clusters of this deployment, by their tag, and no other.
  statement {
    sid = "FollowClusters"
    actions = [
      "elasticmapreduce:DescribeCluster",
      "elasticmapreduce:ListSteps",
      "elasticmapreduce:TerminateJobFlows",
    ]
    resources = [local.clusters_arn]

    dynamic "condition" {
      for_each = var.tags_known ? [1] : []

      content {
        test     = "StringEquals"
        variable = "elasticmapreduce:ResourceTag/kinstream-deployment"
        values   = [var.prefix]
      }
    }
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = [local.service_role_arn, local.nodes_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"]
    }
  }
}
