// A sum over the sparse layers.
#include "engine/expert_traffic.h"

#include <algorithm>
#include <cmath>

#include "model/experts.h"

namespace dure {
namespace {

double number(int64_t value) { return static_cast<double>(value); }

}  // namespace

void ExpertTraffic::add(const ExpertTraffic& other) {
  layers += other.layers;
  rows += other.rows;
  away += other.away;
  orders += other.orders;
  order_bytes += other.order_bytes;
  row_bytes += other.row_bytes;
}

// No row goes to a rank where none of its K experts, which differ, is one of the rank's E / N.
double share_with_rows(const ExpertFacts& experts, int64_t ranks, int64_t rows) {
  const int64_t elsewhere = experts.count - experts.count / ranks;
  double none = 1;
  for (int64_t k = 0; k < experts.per_token; ++k)
    none *= std::max(0.0, number(elsewhere - k) / number(experts.count - k));
  return 1 - std::pow(none, number(rows));
}

ExpertTraffic expert_traffic(const ModelConfig& config, int64_t ranks, int64_t rows) {
  ExpertTraffic out;
  const double others = number(ranks - 1);
  // An order has room for the most experts of a layer.
  const double order = 4 * (2 + number(sparse_sizes(config).experts) / number(ranks));
  for (const LayerFacts& layer : config.layers) {
    if (!layer.sparse) continue;
    const double all = number(rows * layer.experts.per_token);
    const double orders = others * share_with_rows(layer.experts, ranks, rows);
    const double away = all * others / number(ranks);
    out.add({.layers = 1,
             .rows = all,
             .away = away,
             .orders = orders,
             .order_bytes = orders * order,
             .row_bytes = away * 4 * number(config.hidden_size)});
  }
  return out;
}

ExpertTraffic prompt_traffic(const ModelConfig& config, int64_t ranks, int64_t tokens,
                             int64_t pass_rows) {
  ExpertTraffic out;
  for (int64_t left = tokens; left > 0; left -= pass_rows)
    out.add(expert_traffic(config, ranks, std::min(left, pass_rows)));
  return out;
}

}  // namespace dure
