// The form of the company's records, looking them up, and what one side means on the other.
#include "grade/tau2/telecom.h"

#include "grade/python_value.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/records.h"

namespace dure {
namespace {

RecordForm customer_form() {
  const RecordForm address = {text_field("street"), text_field("city"), text_field("state"),
                              text_field("zip_code")};
  const RecordForm payment = {choice_field("method_type", {"Credit Card", "Debit Card", "PayPal"}),
                              text_field("account_number_last_4"), text_field("expiration_date")};
  return {text_field("customer_id"),
          text_field("full_name"),
          text_field("date_of_birth"),
          text_field("email"),
          text_field("phone_number"),
          record_field("address", address),
          or_else(choice_field("account_status",
                               {"Active", "Suspended", "Pending Verification", "Closed"}),
                  "Pending Verification"),
          records_field("payment_methods", payment),
          or_else(texts_field("line_ids"), Json::array()),
          or_else(texts_field("bill_ids"), Json::array()),
          or_else(time_field("created_at"), "2025-01-01"),
          or_null(date_field("last_extension_date")),
          or_else(number_field("goodwill_credit_used_this_year"), 0.0)};
}

RecordForm line_form() {
  return {text_field("line_id"),
          text_field("phone_number"),
          or_else(choice_field("status", {"Active", "Suspended", "Pending Activation", "Closed"}),
                  "Pending Activation"),
          text_field("plan_id"),
          or_null(text_field("device_id")),
          or_else(number_field("data_used_gb"), 0.0),
          or_else(number_field("data_refueling_gb"), 0.0),
          or_else(flag_field("roaming_enabled"), false),
          or_null(date_field("contract_end_date")),
          or_null(date_field("last_plan_change_date")),
          or_null(date_field("last_sim_replacement_date")),
          or_null(date_field("suspension_start_date"))};
}

RecordForm bill_form() {
  const RecordForm item = {text_field("description"), number_field("amount"), date_field("date"),
                           text_field("item_type")};
  return {text_field("bill_id"),
          text_field("customer_id"),
          date_field("period_start"),
          date_field("period_end"),
          date_field("issue_date"),
          number_field("total_due"),
          date_field("due_date"),
          records_field("line_items", item),
          or_else(choice_field("status", {"Draft", "Issued", "Awaiting Payment", "Paid", "Overdue",
                                          "Disputed"}),
                  "Draft")};
}

const RecordForm& company_form() {
  static const RecordForm form = {
      records_field("plans",
                    {text_field("plan_id"), text_field("name"), number_field("data_limit_gb"),
                     number_field("price_per_month"), number_field("data_refueling_price_per_gb")}),
      records_field("customers", customer_form()), records_field("lines", line_form()),
      records_field("bills", bill_form()),
      records_field(
          "devices",
          {text_field("device_id"),
           choice_field("device_type", {"phone", "router", "tablet", "watch", "other"}),
           text_field("model"), or_null(text_field("imei")), flag_field("is_esim_capable"),
           or_else(flag_field("activated"), false), or_null(time_field("activation_date")),
           or_null(time_field("last_esim_transfer_date"))})};
  return form;
}

std::string digits(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c >= '0' && c <= '9') out += c;
  return out;
}

}  // namespace

Json& Telecom::record(const char* kind, const char* id_field, const std::string& id,
                      const char* what) {
  for (Json& one : company[kind].as_array())
    if (one.at(id_field) == Json(id)) return one;
  tau2_refuse(std::string(what) + " " + id + " not found");
}
Json& Telecom::customer(const std::string& id) {
  return record("customers", "customer_id", id, "Customer");
}
Json& Telecom::line(const std::string& id) { return record("lines", "line_id", id, "Line"); }
Json& Telecom::plan(const std::string& id) { return record("plans", "plan_id", id, "Plan"); }
Json& Telecom::device(const std::string& id) {
  return record("devices", "device_id", id, "Device");
}
Json& Telecom::bill(const std::string& id) { return record("bills", "bill_id", id, "Bill"); }

Json& Telecom::line_of(const std::string& customer_id, const std::string& line_id) {
  for (const Json& id : customer(customer_id).at("line_ids").as_array())
    if (id == Json(line_id)) return line(line_id);
  tau2_refuse("Customer " + customer_id + " has no line " + line_id);
}

Json& Telecom::line_by_phone(const std::string& number) {
  const std::string wanted = digits(number);
  for (Json& one : company["lines"].as_array())
    if (!wanted.empty() && digits(one.at("phone_number").as_string()) == wanted) return one;
  tau2_refuse("No line has the phone number " + number);
}

Json& Telecom::customer_by_phone(const std::string& number) {
  const std::string wanted = digits(number);
  for (Json& one : company["customers"].as_array()) {
    if (wanted.empty()) break;
    if (digits(one.at("phone_number").as_string()) == wanted) return one;
    for (const Json& id : one.at("line_ids").as_array())
      if (digits(line(id.as_string()).at("phone_number").as_string()) == wanted) return one;
  }
  tau2_refuse("No customer has the phone number " + number);
}

void Telecom::settle() {
  Surroundings& around = user.around;
  if (around.phone_number.empty()) return;
  const Json& mine = line_by_phone(around.phone_number);
  around.line_active = mine.at("status") == Json("Active");
  around.roaming_allowed = mine.at("roaming_enabled").as_bool();
  const double limit = plan(mine.at("plan_id").as_string()).at("data_limit_gb").as_double() +
                       mine.at("data_refueling_gb").as_double();
  around.mobile_data_usage_exceeded = mine.at("data_used_gb").as_double() >= limit;
  if (around.payment_request && around.payment_request->paid) {
    bill(around.payment_request->bill_id)["status"] = "Paid";
    around.payment_request.reset();
  }
  if (around.payment_request) return;
  for (const Json& id : customer_by_phone(around.phone_number).at("bill_ids").as_array()) {
    const Json& due = bill(id.as_string());
    if (due.at("status") != Json("Awaiting Payment")) continue;
    around.payment_request = {.bill_id = id.as_string(),
                              .amount_due = due.at("total_due").as_double()};
    return;
  }
}

void Telecom::update(Tau2Side side, const Json& data) {
  if (side == Tau2Side::kUser) {
    read_phone(user, data, "user_data");
    return;
  }
  lay_over(company, data);
  company = shaped(company, company_form(), "agent_data");
}

bool Telecom::same(const Telecom& other) const {
  return python_equal(company, other.company) && user == other.user;
}

std::unique_ptr<Tau2World> tau2_telecom_world(const Json& database, const Json& user_database) {
  Telecom telecom;
  telecom.company = shaped(database, company_form(), "db.toml");
  const Json* device = user_database.find("device");
  if (device != nullptr && device->contains("app_statuses")) telecom.user.phone.apps.clear();
  if (!user_database.is_null()) read_phone(telecom.user, user_database, "user_db.toml");
  telecom.settle();
  return std::make_unique<Tau2TableWorld<Telecom>>(std::move(telecom), telecom_agent_functions(),
                                                   telecom_user_functions());
}

}  // namespace dure
