#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/attention.h"

namespace dure {
namespace {

ref::Doubles read(const KvView& kv, bool keys, const AttentionShape& s) {
  const int64_t width = s.kv_head_count * s.head_width;
  ref::Doubles x(static_cast<size_t>(kv.end * width));
  for (int64_t p = kv.begin; p < kv.end; ++p) {
    const void* block = keys ? kv.key_block(p / KvView::kTokens) : kv.value_block(p / KvView::kTokens);
    for (int64_t c = 0; c < width; ++c) {
      const int64_t i = (p % KvView::kTokens) * kv.row_stride + c;
      x[static_cast<size_t>(p * width + c)] = kv.dtype == DType::kF32 ? static_cast<const float*>(block)[i] : bf16_to_f32(static_cast<const uint16_t*>(block)[i]);
    }
  }
  return x;
}

void narrow(const ref::Doubles& from, float* to) { std::copy(from.begin(), from.end(), to); }

}  // namespace

void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments, TensorView q, TensorView out,
               TensorView log_sum_exp, Stream&) {
  for (const AttentionSegment& s : segments) {
    const auto r = ref::attention(shape, ref::widen(q.rows(s.first_row, s.row_count)), read(s.kv, true, shape), read(s.kv, false, shape), s.first_position);
    narrow(r.out, out.rows(s.first_row, s.row_count).f32());
    if (log_sum_exp) narrow(r.log_sum_exp, log_sum_exp.rows(s.first_row, s.row_count).f32());
  }
}

void attention_backward(const AttentionShape& shape, std::span<const AttentionSegment> segments, TensorView q, TensorView k,
                        TensorView v, TensorView, TensorView, TensorView dout, TensorView dq, TensorView dk,
                        TensorView dv, Stream&) {
  for (const AttentionSegment& s : segments) {
    const auto part = [&](TensorView x) { return ref::widen(x.rows(s.first_row, s.row_count)); };
    const auto d = ref::attention_backward(shape, part(q), part(k), part(v), part(dout));
    narrow(d.dq, dq.rows(s.first_row, s.row_count).f32());
    narrow(d.dk, dk.rows(s.first_row, s.row_count).f32());
    narrow(d.dv, dv.rows(s.first_row, s.row_count).f32());
  }
}

}  // namespace dure
