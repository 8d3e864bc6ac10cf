locals {
  queue_names = sort([for queue in var.queues : queue.name])

  rows = [
    {
      title = "Requests", stat = "Sum", view = "timeSeries"
      metrics = [
        for code in ["2XX", "4XX", "5XX"] :
        ["AWS/ApplicationELB", "HTTPCode_Target_${code}_Count", "LoadBalancer", var.load_balancer.load_balancer]
      ]
    },
    {
      title   = "Answer time, p99 (s)", stat = "p99", view = "timeSeries"
      metrics = [["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", var.load_balancer.load_balancer]]
    },
    {
      title   = "Messages waiting", stat = "Maximum", view = "timeSeries"
      metrics = [for name in local.queue_names : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name]]
    },
    {
      title   = "Oldest message (s)", stat = "Maximum", view = "timeSeries"
      metrics = [for name in local.queue_names : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", name]]
    },
    {
      title   = "Dead letters", stat = "Maximum", view = "singleValue"
      metrics = [for name in local.queue_names : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${name}-dlq"]]
    },
    {
      title = "Tasks", stat = "Average", view = "timeSeries"
      metrics = [
        for name in sort(keys(var.services)) :
        ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster_name, "ServiceName", name]
      ]
    },
    {
      title = "Write units", stat = "Sum", view = "timeSeries"
      metrics = [
        for table in values(var.tables) : ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", table]
      ]
    },
    {
      title = "Read units", stat = "Sum", view = "timeSeries"
      metrics = [
        for table in values(var.tables) : ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", table]
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.prefix

  dashboard_body = jsonencode({
    widgets = [
      for number, row in local.rows : {
        type   = "metric"
        x      = 12 * (number % 2)
        y      = 6 * floor(number / 2)
        width  = 12
        height = 6
        properties = {
          title   = row.title
          region  = var.region
          stat    = row.stat
          view    = row.view
          period  = 60
          metrics = row.metrics
        }
      }
    ]
  })
}
