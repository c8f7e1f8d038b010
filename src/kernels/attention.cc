// Checks of attention.h, then the device's own bodies.
#include "kernels/attention.h"

#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/dispatch.h"
#include "kernels/kv_store.h"

namespace dure {
namespace {

void check_shape(const AttentionShape& s) {
  DURE_CHECK(s.kv_head_count > 0 && s.head_count > 0 && s.head_count % s.kv_head_count == 0,
             "{} heads, {} key heads", s.head_count, s.kv_head_count);
  DURE_CHECK(s.head_count / s.kv_head_count <= 64, "{} heads on one key head",
             s.head_count / s.kv_head_count);
  DURE_CHECK(s.head_width > 0 && s.window_tokens >= 0, "width {}, window {}", s.head_width,
             s.window_tokens);
}

void check_segment(const AttentionShape& shape, const AttentionSegment& s, int64_t rows) {
  DURE_CHECK(s.first_row >= 0 && s.row_count >= 0 && s.first_row + s.row_count <= rows,
             "rows {}+{} of {}", s.first_row, s.row_count, rows);
  const int64_t oldest = shape.window_tokens > 0
                             ? std::max<int64_t>(0, s.first_position - shape.window_tokens + 1)
                             : 0;
  DURE_CHECK(s.kv.begin <= oldest && s.kv.end >= s.first_position + s.row_count,
             "keys [{}, {}) for rows at {}+{}, window {}", s.kv.begin, s.kv.end, s.first_position,
             s.row_count, shape.window_tokens);
  const int64_t first = s.kv.first_block * KvView::kTokens,
                listed = s.kv.blocks.elements() * KvView::kTokens;
  DURE_CHECK(!s.kv.blocks || (first <= s.kv.begin && s.kv.end <= first + listed),
             "blocks of keys [{}, {}) for [{}, {})", first, first + listed, s.kv.begin, s.kv.end);
  DURE_CHECK(is_kv_type(s.kv.dtype()), "keys of type {}", dtype_info(s.kv.dtype()).name);
  DURE_CHECK(
      !is_block(s.kv.dtype()) || (s.kv.layout == KvLayout::kHeads &&
                                  shape.head_width % dtype_info(s.kv.dtype()).block_elements == 0),
      "keys of type {}, heads of {}", dtype_info(s.kv.dtype()).name, shape.head_width);
}

}  // namespace

void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments,
               ConstTensorView q, ConstTensorView sinks, TensorView out, TensorView log_sum_exp,
               Stream& stream) {
  check_shape(shape);
  DURE_CHECK(!sinks || sinks.elements() == shape.head_count, "{} sinks of {} heads",
             sinks.elements(), shape.head_count);
  const int64_t rows = q.elements() / (shape.head_count * shape.head_width);
  for (const AttentionSegment& segment : segments) check_segment(shape, segment, rows);
  DURE_CHECK(out.elements() == q.elements(), "out {}, q {}", out.shape.text(), q.shape.text());
  DURE_CHECK(!log_sum_exp || log_sum_exp.elements() == rows * shape.head_count, "log_sum_exp {}",
             log_sum_exp.shape.text());
  dispatch(stream,
           [&](CpuStream& s) { cpu::attention(shape, segments, q, sinks, out, log_sum_exp, s); });
}

void attention_backward(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const AttentionForward& forward, ConstTensorView dout, TensorView dq,
                        TensorView dk, TensorView dv, Stream& stream) {
  check_shape(shape);
  const int64_t rows = forward.q.elements() / (shape.head_count * shape.head_width);
  for (const AttentionSegment& s : segments) {
    DURE_CHECK(s.first_position == 0 && s.first_row >= 0 && s.first_row + s.row_count <= rows,
               "segment at row {}, position {}", s.first_row, s.first_position);
  }
  DURE_CHECK(forward.k.elements() == rows * shape.kv_head_count * shape.head_width &&
                 forward.v.elements() == forward.k.elements(),
             "k {}, v {}", forward.k.shape.text(), forward.v.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::attention_backward(shape, segments, forward, dout, dq, dk, dv, s);
  });
}

void attention_sink_gradient(const AttentionShape& shape, ConstTensorView sinks,
                             const AttentionForward& forward, ConstTensorView dout,
                             TensorView dsinks, Stream& stream) {
  check_shape(shape);
  DURE_CHECK(sinks.elements() == shape.head_count && dsinks.elements() == shape.head_count,
             "sinks {}, dsinks {}, {} heads", sinks.shape.text(), dsinks.shape.text(),
             shape.head_count);
  DURE_CHECK(dout.elements() == forward.out.elements() &&
                 dout.elements() == forward.log_sum_exp.elements() * shape.head_width,
             "dout {}, out {}, log_sum_exp {}", dout.shape.text(), forward.out.shape.text(),
             forward.log_sum_exp.shape.text());
  dispatch(stream, [&](CpuStream& s) {
    cpu::attention_sink_gradient(shape, sinks, forward, dout, dsinks, s);
  });
}

}  // namespace dure
