// Checks of norm.h, then the device's own bodies.
#include "kernels/norm.h"

#include "kernels/cpu/norm.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_rows(ConstTensorView x, ConstTensorView w, ConstTensorView y) {
  DURE_CHECK(x.shape.back() == w.elements() && x.elements() == y.elements(), "x {}, w {}, y {}",
             x.shape.text(), w.shape.text(), y.shape.text());
}

void check_heads(ConstTensorView x, int64_t width, RopeTable rope, ConstTensorView positions) {
  const int64_t tokens = positions.elements();
  positions.expect(DType::kI32);
  DURE_CHECK(width <= cpu::kHeadWidthMax && (!rope.inverse_frequency || width % 2 == 0),
             "head width {}", width);
  DURE_CHECK(!rope.inverse_frequency || rope.inverse_frequency.elements() == width / 2,
             "{} frequencies for heads of {}", rope.inverse_frequency.elements(), width);
  DURE_CHECK(tokens == 0 || x.elements() % (tokens * width) == 0, "x {} for {} positions",
             x.shape.text(), tokens);
}

}  // namespace

void rms_norm(ConstTensorView x, ConstTensorView w, double epsilon, TensorView y,
              TensorView inverse_rms, Stream& stream) {
  check_rows(x, w, y);
  dispatch(stream, [&](CpuStream& s) { cpu::rms_norm(x, w, epsilon, y, inverse_rms, s); });
}

void rms_norm_backward(ConstTensorView x, ConstTensorView w, ConstTensorView inverse_rms,
                       ConstTensorView dy, TensorView dx, Write write, TensorView dw,
                       Stream& stream) {
  check_rows(x, w, dy);
  check_rows(x, dw ? dw : w, dx);
  dispatch(stream,
           [&](CpuStream& s) { cpu::rms_norm_backward(x, w, inverse_rms, dy, dx, write, dw, s); });
}

void head_norm_rope(ConstTensorView x, ConstTensorView w, double epsilon, RopeTable rope,
                    ConstTensorView positions, TensorView y, TensorView inverse_rms,
                    Stream& stream) {
  check_rows(x, w, y);
  check_heads(x, w.elements(), rope, positions);
  dispatch(stream, [&](CpuStream& s) {
    cpu::head_norm_rope(x, w, epsilon, rope, positions, y, inverse_rms, s);
  });
}

void head_norm_rope_backward(ConstTensorView x, ConstTensorView w, RopeTable rope,
                             ConstTensorView positions, ConstTensorView inverse_rms,
                             ConstTensorView dy, TensorView dx, TensorView dw, Stream& stream) {
  check_rows(x, w, dy);
  check_rows(x, dw ? dw : w, dx);
  check_heads(x, w.elements(), rope, positions);
  dispatch(stream, [&](CpuStream& s) {
    cpu::head_norm_rope_backward(x, w, rope, positions, inverse_rms, dy, dx, dw, s);
  });
}

void head_rope(ConstTensorView x, RopeTable rope, ConstTensorView positions, TensorView y,
               Stream& stream) {
  check_heads(x, x.shape.back(), rope, positions);
  DURE_CHECK(x.elements() == y.elements(), "x {}, y {}", x.shape.text(), y.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::head_rope(x, rope, positions, y, s); });
}

void head_rope_backward(ConstTensorView dy, RopeTable rope, ConstTensorView positions,
                        TensorView dx, Stream& stream) {
  check_heads(dy, dy.shape.back(), rope, positions);
  DURE_CHECK(dx.elements() == dy.elements(), "dy {}, dx {}", dy.shape.text(), dx.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::head_rope_backward(dy, rope, positions, dx, s); });
}

}  // namespace dure
