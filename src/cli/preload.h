// cli/preload.h: a model's matrices read into memory before its first token, in the order of its
// layers, so that the first token costs what the second does.
//
// A mapped file is read where a product first touches it, page by page and out of order: a disk
// gives a fraction of its rate then, and nothing says how long it will take. Here it is one stream,
// with a bar. A model that does not fit into the memory that is free now is left to be read as its
// parts are needed, and a warning says so. Not here: reading a page (model/touch.h).
#pragma once

#include <string>

#include "model/weights.h"

namespace dure {

class Args;

// Always.
void preload(const ModelWeights& weights, Stream& stream);

struct PreloadFlag {
  std::string name = "auto";

  void declare(Args& args);
  // As the flag says; throws kInvalidArgument for another word. `source` names the model.
  void run(const ModelWeights& weights, const std::string& source, Stream& stream) const;
};

}  // namespace dure
