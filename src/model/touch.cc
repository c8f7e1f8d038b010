// One byte of every page, stretch by stretch, the pages of a stretch by all threads.
#include "model/touch.h"

#include <algorithm>
#include <vector>

#include "base/interrupt.h"

namespace dure {
namespace {

constexpr int64_t kPage = 4096, kPiece = 256 * kPage, kStretch = 64 * kPiece;

struct Piece {
  const char* data;
  int64_t bytes;
};

void add(ConstTensorView field, std::vector<Piece>& out) {
  out.push_back({static_cast<const char*>(field.data), field.bytes()});
}

void add(const WeightView& field, std::vector<Piece>& out) {
  const int64_t bytes = field.data.bytes() / field.stack();
  for (int64_t e = 0; e < field.stack(); ++e) out.push_back({field.part(e), bytes});
}

std::vector<Piece> pieces_of(const ModelWeights& weights) {
  ModelOf<WeightView, ConstTensorView> fields = weights;
  std::vector<Piece> out;
  visit_tensors(weights.config, fields, [&](const ImpliedTensor&, auto& field) {
    if (field) add(field, out);
  });
  return out;
}

void touch(const Piece& stretch, Stream& stream) {
  const int64_t count = (stretch.bytes + kPiece - 1) / kPiece;
  stream.host_threads().parallel_for(count, [&](int64_t i, int) {
    const volatile char* const data = stretch.data;
    const int64_t end = std::min(stretch.bytes, (i + 1) * kPiece);
    for (int64_t at = i * kPiece; at < end; at += kPage) static_cast<void>(data[at]);
  });
}

}  // namespace

int64_t touch_bytes(const ModelWeights& weights) {
  int64_t sum = 0;
  for (const Piece& piece : pieces_of(weights)) sum += piece.bytes;
  return sum;
}

void touch_weights(const ModelWeights& weights, Stream& stream,
                   const std::function<void(int64_t)>& progress) {
  int64_t done = 0;
  for (const Piece& piece : pieces_of(weights)) {
    for (int64_t at = 0; at < piece.bytes; at += kStretch) {
      throw_if_interrupted("the model was being read into memory");
      const int64_t count = std::min(kStretch, piece.bytes - at);
      touch({piece.data + at, count}, stream);
      done += count;
      progress(done);
    }
  }
}

}  // namespace dure
