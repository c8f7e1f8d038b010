// engine/expert_traffic.h: the bytes that travel where a model's routed experts lie on several
// ranks, counted from the configuration: what docs/ranks.md says of serving in words.
//
// Exact where rows are spread evenly over experts and every rank gets some of every pass; of few
// rows the mean under even routing. Not here: what really travelled (expert_front.h's statistics).
#pragma once

#include "formats/model_config.h"

namespace dure {

// Of the first rank; the others have the same between them.
struct ExpertTraffic {
  double layers = 0;          // sparse ones, each pass
  double rows = 0, away = 0;  // of experts, and of them those that others compute
  double orders = 0;          // messages
  double order_bytes = 0;     // sent
  double row_bytes = 0;       // sent, and as many come back
  double sent() const { return order_bytes + row_bytes; }
  double received() const { return row_bytes; }
  void add(const ExpertTraffic& other);
};

// Of one pass of `rows` tokens through the main layers, over `ranks` that divide the experts.
ExpertTraffic expert_traffic(const ModelConfig& config, int64_t ranks, int64_t rows);
// Of a prompt, in passes of at most `pass_rows`.
ExpertTraffic prompt_traffic(const ModelConfig& config, int64_t ranks, int64_t tokens,
                             int64_t pass_rows);

// The share of passes of `rows` tokens in which a rank of `ranks` has any, under even routing.
double share_with_rows(const ExpertFacts& experts, int64_t ranks, int64_t rows);

}  // namespace dure
