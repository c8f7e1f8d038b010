// The tool `calculate`: Python's arithmetic on numbers, rounded to cents.
#include <charconv>
#include <cmath>

#include "base/python_text.h"
#include "grade/tau2/domains.h"

namespace dure {
namespace {

constexpr int kDepthMax = 100;  // of brackets and signs

// Python's precedence: ** binds more tightly than a sign before it, and to the right.
class Calculation {
 public:
  explicit Calculation(std::string_view text) : text_(text) {}

  double value() {
    const double out = sum();
    skip();
    if (at_ != text_.size() || !std::isfinite(out)) wrong();
    return out;
  }

 private:
  [[noreturn]] static void wrong() { tau2_refuse("The expression cannot be calculated"); }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(std::string_view sign) {
    skip();
    if (!text_.substr(at_).starts_with(sign)) return false;
    at_ += sign.size();
    return true;
  }
  double sum() {
    double out = product();
    for (;;) {
      if (take("+")) {
        out += product();
      } else if (take("-")) {
        out -= product();
      } else {
        return out;
      }
    }
  }
  double product() {
    double out = signed_value();
    for (;;) {
      if (take("//")) {
        out = std::floor(out / divisor());
      } else if (take("/")) {
        out /= divisor();
      } else if (take("*")) {
        out *= signed_value();
      } else {
        return out;
      }
    }
  }
  double divisor() {
    const double out = signed_value();
    if (out == 0) wrong();
    return out;
  }
  double signed_value() {
    if (++depth_ > kDepthMax) wrong();
    double out = 0;
    if (take("+")) {
      out = signed_value();
    } else if (take("-")) {
      out = -signed_value();
    } else {
      out = primary();
      if (take("**")) out = std::pow(out, signed_value());
    }
    --depth_;
    return out;
  }
  double primary() {
    if (take("(")) {
      const double out = sum();
      if (!take(")")) wrong();
      return out;
    }
    skip();
    double out = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), out);
    if (error != std::errc()) wrong();
    at_ = static_cast<size_t>(end - text_.data());
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

double rounded_to_cents(double value) {
  return std::strtod(fmt::format("{:.2f}", value).c_str(), nullptr);
}

Tau2Signature tau2_calculate() {
  return {"calculate",
          "Calculates an expression, to two places behind the point.",
          {{"expression", "Numbers, + - * / and brackets, such as '2 + 2'."}}};
}

Json tau2_calculated(const Json& arguments) {
  const std::string& text = text_argument(arguments, "expression");
  if (text.find_first_not_of("0123456789+-*/(). ") != std::string::npos)
    tau2_refuse("There are characters in the expression that do not belong there");
  return python_float(rounded_to_cents(Calculation(text).value()));
}

}  // namespace dure
