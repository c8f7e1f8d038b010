// The warning of context_fit.h.
#include "model/context_fit.h"

#include "base/log.h"

namespace dure {

void warn_beyond_context(const ModelConfig& config, int64_t tokens, const std::string& what) {
  if (tokens <= config.context_tokens) return;
  log_warn("{}: {} tokens, but the model's context (max_position_embeddings) is {}", what, tokens,
           config.context_tokens);
}

}  // namespace dure
