// A sum over the layers; keys in sight are a triangle, then a band.
#include "model/operations.h"

#include <algorithm>

#include "base/check.h"

namespace dure {
namespace {

double number(int64_t value) { return static_cast<double>(value); }

// Of one row.
double feed_forward_operations(const ModelConfig& c, const LayerFacts& layer) {
  const double d = number(c.hidden_size);
  if (!layer.sparse) return 6 * d * number(layer.dense_width);
  const ExpertFacts& e = layer.experts;
  return 6 * d * number(e.width * e.per_token + e.shared_width()) + 2 * d * number(e.count);
}

// Of `rows` rows from `first` on.
Operations layer_operations(const ModelConfig& c, const LayerFacts& layer, int64_t first,
                            int64_t rows) {
  const double d = number(c.hidden_size), h = number(c.head_width), q = number(c.head_count),
               g = number(c.kv_head_count);
  return {.projections = number(rows) * 2 * d * h * (2 * q + 2 * g),
          .attention = 4 * q * h * keys_in_sight(layer.window_tokens, first, rows),
          .feed_forward = number(rows) * feed_forward_operations(c, layer)};
}

void add(Operations& sum, const Operations& other) {
  sum.projections += other.projections;
  sum.attention += other.attention;
  sum.feed_forward += other.feed_forward;
  sum.head += other.head;
}

Operations times(Operations o, double factor) {
  o.projections *= factor;
  o.attention *= factor;
  o.feed_forward *= factor;
  o.head *= factor;
  return o;
}

// Of rows 0 .. n - 1.
double keys_from_start(int64_t window, int64_t n) {
  const int64_t growing = window > 0 ? std::min(n, window) : n;  // rows that see all before them
  return number(growing) * number(growing + 1) / 2 + number(n - growing) * number(window);
}

}  // namespace

double keys_in_sight(int64_t window_tokens, int64_t first_position, int64_t rows) {
  DURE_CHECK(window_tokens >= 0 && first_position >= 0 && rows >= 0, "{} rows from {}, window {}",
             rows, first_position, window_tokens);
  return keys_from_start(window_tokens, first_position + rows) -
         keys_from_start(window_tokens, first_position);
}

Operations forward_operations(const ModelConfig& config, const OperationRows& rows) {
  const double head = 2 * number(config.hidden_size) * number(config.vocab_size);
  Operations out{.head = head * number(rows.head_rows)};
  for (const LayerFacts& layer : config.layers)
    add(out, layer_operations(config, layer, rows.first_position, rows.rows));
  if (rows.mtp_rows == 0) return out;
  DURE_CHECK(config.mtp_layer_count > 0, "no MTP layer");
  add(out, layer_operations(config, config.mtp_layer, rows.first_position, rows.mtp_rows));
  // Two rows of D joined to one of D, then logits.
  const double joined = 4 * number(config.hidden_size) * number(config.hidden_size);
  out.projections += joined * number(rows.mtp_rows);
  out.head += head * number(rows.mtp_rows);
  return out;
}

Operations training_operations(const ModelConfig& config, int64_t tokens, MtpLoss mtp) {
  return times(forward_operations(config, {.rows = tokens,
                                           .head_rows = tokens,
                                           .mtp_rows = mtp == MtpLoss::kWith ? tokens : 0}),
               3);
}

}  // namespace dure
