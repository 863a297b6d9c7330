import { LineChart } from "@mantine/charts";
import { Paper, Text } from "@mantine/core";
import "@mantine/charts/styles.css";
import { rate } from "../../lib/format";
import type { Point } from "./history";

const SERIES = [
  { name: "received", label: "events in", color: "blue.6" },
  { name: "sent", label: "packets out", color: "teal.6" },
];

export function Traffic({ points }: { points: readonly Point[] }) {
  const newest = points.at(-1);
  const data = points.map((point) => ({
    at: new Date(point.at).toLocaleTimeString(),
    received: Number(point.received.toFixed(1)),
    sent: Number(point.sent.toFixed(1)),
  }));
  const summary =
    newest === undefined ? "" : `${newest.sessions} sessions, ${rate(newest.received)} events/s in, ${rate(newest.sent)} packets/s out`;
  return (
    <Paper withBorder p="md" component="section" aria-label="Traffic">
      <Text size="sm" mb="xs" data-testid="traffic-now">
        {summary}
      </Text>
      <div inert>
        <LineChart h={180} data={data} dataKey="at" series={SERIES} curveType="monotone" withDots={false} lineChartProps={{ syncId: "traffic" }} />
      </div>
    </Paper>
  );
}
