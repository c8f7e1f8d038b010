// kernels/fingerprint.h: a hash of some of a tensor's bytes: enough to tell two models apart, not
// to find a single changed number.
//
// Pieces of 4 KiB, evenly spread, the first and the last among them: training changes nearly every
// weight, and reading all of a large model would take as long as loading it. Not here: which
// tensors a model has (model/fingerprint.h).
#pragma once

#include "kernels/weight.h"

namespace dure {

// XXH64 of kFingerprintPieces pieces (of all bytes, where these are no more), seeded with `hash`,
// into `hash`.
constexpr int64_t kFingerprintPieces = 4;
void fingerprint(ConstTensorView tensor, uint64_t& hash, Stream& stream);
// Of one matrix of a stack. Checked: 0 <= matrix < weight.stack().
void fingerprint(const WeightView& weight, int64_t matrix, uint64_t& hash, Stream& stream);

}  // namespace dure
