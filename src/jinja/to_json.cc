// One walk over the value; order and spacing as json.dumps has them.
#include "jinja/to_json.h"

#include <algorithm>
#include <numeric>

#include "base/python_text.h"

namespace dure::jinja {
namespace {

class Writer {
 public:
  explicit Writer(const ToJsonOptions& options) : options_(options) {}

  void write(const Value& value) {
    spend_steps(1);
    check_size(static_cast<int64_t>(out_.size()));
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return;
      case Kind::kBool:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Kind::kInt:
        out_ += int_text(value.integer());
        return;
      case Kind::kFloat:
        out_ += python_json_number(value.real());
        return;
      case Kind::kString:
        append_python_json_string(out_, value.text(), options_.ensure_ascii);
        return;
      case Kind::kList:
      case Kind::kTuple:
        return write_list(value);
      case Kind::kDict:
        return write_dict(value.dict());
      default:
        raise("TypeError: Object of type {} is not JSON serializable", type_name(value));
    }
  }
  std::string take() { return std::move(out_); }

 private:
  void new_line() {
    if (!options_.indent.has_value()) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *options_.indent;
  }

  // One item or member, with what stands before it.
  void begin_item(bool first) {
    if (!first) out_ += options_.item_separator;
    new_line();
  }

  void write_list(const Value& value) {
    if (value.items().empty()) return void(out_ += "[]");
    out_ += '[';
    ++level_;
    for (size_t i = 0; i < value.items().size(); ++i) {
      begin_item(i == 0);
      write(value.items()[i]);
    }
    --level_;
    new_line();
    out_ += ']';
  }

  void write_dict(const DictObject& dict) {
    if (dict.items.empty()) return void(out_ += "{}");
    std::vector<size_t> order(dict.items.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (options_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return compare(dict.items[a].first, dict.items[b].first, "<") < 0;
      });
    }
    out_ += '{';
    ++level_;
    for (size_t i = 0; i < order.size(); ++i) {
      begin_item(i == 0);
      write_key(dict.items[order[i]].first);
      out_ += options_.key_separator;
      write(dict.items[order[i]].second);
    }
    --level_;
    new_line();
    out_ += '}';
  }

  void write_key(const Value& key) {
    if (key.is_string()) return append_python_json_string(out_, key.text(), options_.ensure_ascii);
    if (!key.is_number() && !key.is_none())
      raise("TypeError: keys must be str, int, float, bool or None, not {}", type_name(key));
    out_ += '"';
    write(key);
    out_ += '"';
  }

  const ToJsonOptions& options_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

std::string to_json(const Value& value, const ToJsonOptions& options) {
  Writer writer(options);
  writer.write(value);
  return writer.take();
}

}  // namespace dure::jinja
