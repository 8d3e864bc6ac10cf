# Training on EMR needs nothing of this VPC but S3; peering is for looking at a cluster from inside.
# The route back to this VPC is the peer's: its route tables belong to whoever made it.

resource "aws_vpc_peering_connection" "emr" {
  count = var.emr_peer == null ? 0 : 1

  vpc_id      = aws_vpc.this.id
  peer_vpc_id = var.emr_peer.vpc_id
  auto_accept = true
  tags        = { Name = "${var.prefix}-emr" }
}

resource "aws_route" "emr" {
  count = var.emr_peer == null ? 0 : 1

  route_table_id            = aws_route_table.private.id
  destination_cidr_block    = var.emr_peer.cidr
  vpc_peering_connection_id = aws_vpc_peering_connection.emr[0].id
}
