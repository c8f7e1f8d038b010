// engine/token_mask.h: which tokens may come next in one request: the seam through which
// constrained decoding reaches the sampler.
//
// A mask belongs to one request. Not here: what it is made of (a grammar lives above the engine),
// how it is applied (sampler.h).
#pragma once

#include <cstdint>
#include <span>

namespace dure {

class TokenMask {
 public:
  virtual ~TokenMask() = default;

  // The tokens that may follow `generated`: bit i of word i/64 for token i, at least as many bits
  // as the vocabulary has; empty: every token. Valid until the next call. `generated` is the answer
  // so far, at times with drafts behind it that will be thrown away: each call may go on from any
  // earlier one, not only the last. Called from one thread at a time, not always the same. What it
  // throws ends the request with that error; so does a mask that allows nothing.
  virtual std::span<const uint64_t> allowed(std::span<const int32_t> generated) = 0;
};

}  // namespace dure
