// quantise/importance.h: how much each input column of each matrix matters: mean squared inputs
// over a text ("importance matrix"), in memory and as a file.
//
// The file is llama.cpp's GGUF form (docs/quantisation.md): for a matrix NAME the tensors
// NAME.in_sum2 [E, K], sums of squared inputs, and NAME.counts [E, 1], rows summed; E is 1, or the
// experts of a stack. NAME is the GGUF name of the weights. Not here: running a text through a
// model (calibrate.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace dure {

struct ImportanceEntry {
  int64_t matrices = 1;         // E
  int64_t columns = 0;          // K
  std::vector<double> squares;  // [E, K] sums
  std::vector<double> counts;   // [E]

  // Weights [K] of one matrix: means; where it was never reached, the mean over all that were (all
  // 1 where none was).
  std::vector<float> weights(int64_t matrix) const;
  int64_t unreached() const;  // matrices with count 0
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry> entries;
  std::vector<std::string> datasets;
  int64_t chunk_count = 0, chunk_tokens = 0;

  const ImportanceEntry* find(const std::string& name) const;
};

// Throws kNotFound, kCorrupt or kInvalidArgument naming the file and tensor: another kind of file,
// a pair that is not whole or whose shapes disagree, a value that is negative or not finite.
ImportanceMatrix read_importance(const Path& path);
void write_importance(const ImportanceMatrix& matrix, const Path& path);  // By rename.

}  // namespace dure
