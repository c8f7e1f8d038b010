// kernels/ref/kv_store.h: the slow twin of a cache's Q8_0, written as kernels/kv_store.h states it.
//
// The fast body equals it in bits. Not here: where codes stand (cpu/kv_store.cc).
#pragma once

#include <span>
#include <vector>

namespace dure::ref {

// What is read back of one row of one head, x.size() a whole number of 32.
std::vector<float> kept_in_q8_0(std::span<const float> x);

}  // namespace dure::ref
