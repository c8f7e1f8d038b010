// Rows as bytes, numbers behind them.
#include "train/stage_link.h"

#include <cstring>

namespace dure {

void StageLink::send(int to, ConstTensorView rows, std::span<const double> more) {
  const std::span<const std::byte> values = std::as_bytes(room_.of(rows, stream_));
  std::vector<std::byte> bytes(values.size() + more.size_bytes());
  std::memcpy(bytes.data(), values.data(), values.size());
  if (!more.empty()) std::memcpy(bytes.data() + values.size(), more.data(), more.size_bytes());
  pipeline_.post(to, std::move(bytes));
}

void StageLink::receive(int from, TensorView rows, std::string_view what, std::span<double> more) {
  const auto size = static_cast<size_t>(rows.bytes());
  taken_.resize(size + more.size_bytes());
  pipeline_.receive(from, taken_, what);
  copy_from_host(ConstTensorView{taken_.data(), rows.shape, rows.dtype, Device::kCpu}, rows,
                 stream_);
  if (!more.empty()) std::memcpy(more.data(), taken_.data() + size, more.size_bytes());
}

void StageLink::send_rows(TrainPass& pass, bool mtp) {
  if (place_.is_last()) return;
  send(pipeline_.rank() + 1, pass.rows_out());
  if (!mtp || !place_.is_first()) return;
  pass.embed_next(stream_);
  send(last(), pass.next_rows());
}

void StageLink::receive_rows(TrainPass& pass, bool mtp) {
  if (place_.is_first()) return;
  receive(pipeline_.rank() - 1, pass.rows_in(), "hidden rows");
  if (mtp && place_.is_last()) receive(0, pass.next_rows(), "the MTP layer's rows");
}

void StageLink::send_gradient(TrainPass& pass, double balance, bool mtp) {
  if (place_.is_first()) return;
  send(pipeline_.rank() - 1, pass.gradient(), {&balance, 1});
  if (mtp && place_.is_last()) send(0, pass.next_gradient());
}

double StageLink::receive_gradient(TrainPass& pass, bool mtp) {
  double balance = 0;
  if (place_.is_last()) return balance;
  receive(pipeline_.rank() + 1, pass.gradient(), "gradients of hidden rows", {&balance, 1});
  if (mtp && place_.is_first())
    receive(last(), pass.next_gradient(), "gradients of the MTP layer's rows");
  return balance;
}

}  // namespace dure
