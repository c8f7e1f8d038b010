// kernels/ref/rows.h: embedding rows and their gradient in double. Moves of whole rows have no
// twin: their tests compare them with the plain loop.
#pragma once

#include "kernels/ref/doubles.h"

namespace dure::ref {

Doubles embedding(DoubleSpan table, int64_t width, std::span<const int32_t> ids);
Doubles embedding_backward(int64_t vocabulary, std::span<const int32_t> ids, DoubleSpan dy);

}  // namespace dure::ref
