// model/context_fit.h: sequences against the context that a model was made for.
//
// A warning, as rotary positions go on without end: worse, not wrong. Not here: what refuses or
// cuts a prompt (eval/prompt_room.h), rows of training (data/row_fit.h).
#pragma once

#include <string>

#include "formats/model_config.h"

namespace dure {

// Warns where `tokens` in one sequence are more than max_position_embeddings. `what` names who asks
// for them.
void warn_beyond_context(const ModelConfig& config, int64_t tokens, const std::string& what);

}  // namespace dure
