// Rows by index, and their sums, as the definitions say.
#include "kernels/ref/rows.h"

namespace dure::ref {

Doubles embedding(DoubleSpan table, int64_t width, std::span<const int32_t> ids) {
  Doubles y;
  for (const int32_t id : ids)
    y.insert(y.end(), table.begin() + id * width, table.begin() + (id + 1) * width);
  return y;
}

Doubles embedding_backward(int64_t vocabulary, std::span<const int32_t> ids, DoubleSpan dy) {
  const size_t width = dy.size() / ids.size();
  Doubles dtable(static_cast<size_t>(vocabulary) * width);
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t c = 0; c < width; ++c)
      dtable[static_cast<size_t>(ids[t]) * width + c] += dy[t * width + c];
  }
  return dtable;
}

}  // namespace dure::ref
