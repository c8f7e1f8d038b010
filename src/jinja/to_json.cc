// The filter tojson as transformers defines it: Python's json.dumps, non-ASCII kept.
#include <algorithm>
#include <numeric>

#include "base/python_text.h"
#include "jinja/builtin.h"

namespace dure::jinja {
namespace {

struct ToJsonOptions {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // The text of one level.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

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

Value filter_tojson(const Value& subject, const Bound& arguments) {
  ToJsonOptions options;
  options.ensure_ascii = arguments.flag(0);
  if (arguments.given(1)) {
    options.indent = arguments.indentation(1, 0);
    options.item_separator = ",";
  }
  if (arguments.given(2)) {
    const std::vector<Value> separators = to_vector(arguments.at(2));
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string())
      raise("ValueError: separators should be two strings");
    options.item_separator = separators[0].text();
    options.key_separator = separators[1].text();
  }
  options.sort_keys = arguments.flag(3);
  Writer writer(options);
  writer.write(subject);
  return Value(writer.take());
}

}  // namespace dure::jinja
