// quantise/calibrate.h: an importance matrix from token ids: the model runs them, and the squares
// of every matrix's inputs are summed by column.
//
// Each chunk is a document of its own. Sums are taken in double, row after row: they depend on the
// chunks alone, not on threads. Matrices that read the same rows (query, key and value; gate and
// up) have equal entries, as in llama.cpp's files. The head is included, and the MTP layer where
// the model has one. Not here: the file (importance.h), text (cli/).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/weights.h"
#include "quantise/importance.h"

namespace dure {

struct CalibrateOptions {
  int64_t chunk_tokens = 512;  // rows of one forward
  int64_t chunks_max = 0;      // 0: all there are
};

// A rest of at least two tokens is a chunk, too. Throws kInvalidArgument for fewer than two tokens
// or an id outside the vocabulary, kInterrupted between chunks. `progress` gets tokens done so far.
ImportanceMatrix calibrate(const ModelWeights& weights, std::span<const int32_t> ids,
                           const CalibrateOptions& options, Stream& stream,
                           const std::function<void(int64_t)>& progress);

}  // namespace dure
