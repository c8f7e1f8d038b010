// Template files, or the field of tokenizer_config.json, as one list of names.
#include "formats/folder_templates.h"

#include "base/error.h"
#include "base/file_kind.h"
#include "base/json.h"
#include "formats/json_fields.h"

namespace dure {
namespace {

using Templates = std::map<std::string, NamedTemplate>;

std::string read_template(const Path& file) {
  std::string text = read_file(file);
  refuse_mistaken_file(text, file.string());
  return text;
}

Templates template_files(const Path& folder) {
  Templates out;
  const Path file = folder / "chat_template.jinja";
  if (path_exists(file)) out["default"] = {read_template(file), file.string()};
  const Path more = folder / "additional_chat_templates";
  if (!path_exists(more)) return out;
  for (const auto& entry : std::filesystem::directory_iterator(more)) {
    const Path& path = entry.path();
    if (path.extension() == ".jinja")
      out[path.stem().string()] = {read_template(path), path.string()};
  }
  return out;
}

Templates templates_of_field(const Json& field, const std::string& where) {
  if (field.is_string()) return {{"default", {field.as_string(), where}}};
  Templates out;
  for (const Json& item : field.as_array(where)) {
    JsonFields fields(item, where);
    const auto name = fields.text("name");
    const auto text = fields.text("template");
    if (!name || !text)
      fail(ErrorCode::kInvalidArgument, "{}: an entry needs a name and a template", where);
    out[*name] = {*text, fmt::format("{} \"{}\"", where, *name)};
  }
  return out;
}

}  // namespace

std::map<std::string, NamedTemplate> folder_templates(const Path& folder) {
  Templates out = template_files(folder);
  const Path config = folder / "tokenizer_config.json";
  if (!out.empty() || !path_exists(config)) return out;
  const Json json = load_json(config);
  JsonFields fields(json, config.string());
  const Json* field = fields.find("chat_template");
  return field == nullptr ? out : templates_of_field(*field, fields.place("chat_template"));
}

}  // namespace dure
