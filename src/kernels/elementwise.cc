// Checks of elementwise.h, then the device's own bodies.
#include "kernels/elementwise.h"

#include "kernels/cpu/elementwise.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_same(ConstTensorView a, ConstTensorView b) {
  DURE_CHECK(a.elements() == b.elements(), "{} and {}", a.shape.text(), b.shape.text());
}

}  // namespace

void swiglu(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts, TensorView h,
            Stream& stream) {
  check_same(gate, up);
  check_same(gate, h);
  dispatch(stream, [&](CpuStream& s) { cpu::swiglu(gate, up, facts, h, s); });
}

void swiglu_backward(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts,
                     ConstTensorView dh, TensorView dgate, TensorView dup, Stream& stream) {
  check_same(gate, up);
  check_same(gate, dh);
  check_same(gate, dgate);
  check_same(gate, dup);
  dispatch(stream, [&](CpuStream& s) { cpu::swiglu_backward(gate, up, facts, dh, dgate, dup, s); });
}

}  // namespace dure
