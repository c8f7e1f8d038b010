// The assistant's side of telecom: tools on the company's records, and the functions of initial
// states and assertions.
#include <algorithm>

#include "base/hash.h"
#include "base/python_text.h"
#include "grade/python_value.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/telecom.h"

namespace dure {
namespace {

// The domain's day is 2025-02-25, in the middle of its billing month.
constexpr const char* kToday = "2025-02-25";
constexpr const char* kCycleEnd = "2025-02-28";
struct BillDays {
  const char *start, *end, *due;  // issued at its start, due 14 days later
};
constexpr BillDays kLastMonth = {"2025-01-01", "2025-01-31", "2025-01-15"};
constexpr BillDays kNextMonth = {"2025-03-01", "2025-03-31", "2025-03-15"};

constexpr double kAmountTolerance = 1e-6;  // GB; the published one

std::string id_argument(const Json& arguments, const char* name) {
  return text_argument(arguments, name);
}
Json& target_line(Telecom& telecom, const Json& arguments) {
  return telecom.line_of(id_argument(arguments, "customer_id"), id_argument(arguments, "line_id"));
}

Json customers_by_name(Telecom& telecom, const Json& arguments) {
  const std::string name = python_lower(text_argument(arguments, "full_name"));
  Json out = Json::array();
  for (const Json& one : telecom.company.at("customers").as_array())
    if (python_lower(one.at("full_name").as_string()) == name &&
        one.at("date_of_birth") == arguments.at("dob"))
      out.push_back(one);
  return out;
}

// Its first letter says what an id is of.
Json details(Telecom& telecom, const Json& arguments) {
  const std::string id = id_argument(arguments, "id");
  switch (id.empty() ? '\0' : id[0]) {
    case 'L':
      return telecom.line(id);
    case 'D':
      return telecom.device(id);
    case 'B':
      return telecom.bill(id);
    case 'C':
      return telecom.customer(id);
    case 'P':
      return telecom.plan(id);
    default:
      tau2_refuse("'" + id + "' is the id of nothing (C, L, D, B, P and a number)");
  }
}

Json with_line(const char* message, const Json& line) {
  Json out = Json::object();
  out["message"] = message;
  out["line"] = line;
  return out;
}

Json suspend_line(Telecom& telecom, const Json& arguments) {
  Json& line = target_line(telecom, arguments);
  if (line.at("status") != Json("Active")) tau2_refuse("Only an active line can be suspended");
  line["status"] = "Suspended";
  line["suspension_start_date"] = kToday;
  return with_line("The line is suspended. It costs $5 a month meanwhile.", line);
}

Json resume_line(Telecom& telecom, const Json& arguments) {
  Json& line = target_line(telecom, arguments);
  if (line.at("status") != Json("Suspended") && line.at("status") != Json("Pending Activation"))
    tau2_refuse("Only a suspended line, or one that waits for activation, can be resumed");
  line["status"] = "Active";
  line["suspension_start_date"] = nullptr;
  return with_line("The line is active again.", line);
}

// The newest first.
Json bills_of(Telecom& telecom, const Json& arguments) {
  Json::Array bills;
  for (const Json& id :
       telecom.customer(id_argument(arguments, "customer_id")).at("bill_ids").as_array())
    bills.push_back(telecom.bill(id.as_string()));
  std::stable_sort(bills.begin(), bills.end(), [](const Json& a, const Json& b) {
    return a.at("issue_date").as_string() > b.at("issue_date").as_string();
  });
  const Json* given = arguments.find("limit");
  const int64_t limit = given == nullptr ? 12 : given->as_int("limit"), count = std::ssize(bills);
  // As a slice of Python's: a negative limit counts from the end.
  bills.resize(static_cast<size_t>(limit < 0 ? std::max<int64_t>(0, count + limit)
                                             : std::min(limit, count)));
  return Json(std::move(bills));
}

Json send_payment_request(Telecom& telecom, const Json& arguments) {
  const Json& ids = telecom.customer(id_argument(arguments, "customer_id")).at("bill_ids");
  const std::string id = id_argument(arguments, "bill_id");
  bool owned = false;
  for (const Json& one : ids.as_array()) {
    if (telecom.bill(one.as_string()).at("status") == Json("Awaiting Payment"))
      tau2_refuse("A bill of this customer awaits payment already");
    owned = owned || one == Json(id);
  }
  if (!owned) tau2_refuse("This customer has no bill " + id);
  telecom.bill(id)["status"] = "Awaiting Payment";
  return "The customer was asked to pay bill " + id;
}

// Numbers inside of such results are shown as texts: so does the published program.
Json data_usage(Telecom& telecom, const Json& arguments) {
  const Json& line = target_line(telecom, arguments);
  const auto shown = [](const Json& number) { return python_float(number.as_double()); };
  Json out = Json::object();
  out["line_id"] = line.at("line_id");
  out["data_used_gb"] = shown(line.at("data_used_gb"));
  out["data_limit_gb"] = shown(telecom.plan(line.at("plan_id").as_string()).at("data_limit_gb"));
  out["data_refueling_gb"] = shown(line.at("data_refueling_gb"));
  out["cycle_end_date"] = kCycleEnd;
  return out;
}

Json set_data_usage(Telecom& telecom, const Json& arguments) {
  const double gb = number_argument(arguments, "data_used_gb");
  target_line(telecom, arguments)["data_used_gb"] = gb;
  return "Data used: " + python_float(gb) + " GB";
}

enum class Roaming { kOff, kOn };
Json set_roaming(Telecom& telecom, const Json& arguments, Roaming wanted) {
  Json& line = target_line(telecom, arguments);
  const bool on = wanted == Roaming::kOn;
  const bool was = line.at("roaming_enabled") == Json(on);
  line["roaming_enabled"] = on;
  return std::string("Roaming ") + (was ? "was already " : "is now ") + (on ? "on" : "off");
}

Json new_bill(const std::string& id, const std::string& customer_id, const BillDays& days,
              const char* status) {
  Json bill = Json::object();
  bill["bill_id"] = id;
  bill["customer_id"] = customer_id;
  bill["period_start"] = days.start;
  bill["period_end"] = days.end;
  bill["issue_date"] = days.start;
  bill["total_due"] = 0.0;
  bill["due_date"] = days.due;
  bill["line_items"] = Json::array();
  bill["status"] = status;
  return bill;
}

void add_item(Json& bill, double amount, const std::string& description) {
  Json item = Json::object();
  item["description"] = description;
  item["amount"] = amount;
  item["date"] = kToday;
  item["item_type"] = amount < 0 ? "Credit" : "Charge";
  bill["line_items"].push_back(std::move(item));
  bill["total_due"] = bill.at("total_due").as_double() + amount;
}

void add_bill(Telecom& telecom, Json bill) {
  telecom.customer(bill.at("customer_id").as_string())["bill_ids"].push_back(bill.at("bill_id"));
  telecom.company["bills"].push_back(std::move(bill));
}

// On the customer's draft; where there is none, on one of the next month.
void charge(Telecom& telecom, const std::string& customer_id, double amount,
            const std::string& description) {
  const Json ids = telecom.customer(customer_id).at("bill_ids");
  for (const Json& id : ids.as_array()) {
    Json& bill = telecom.bill(id.as_string());
    if (bill.at("status") != Json("Draft")) continue;
    add_item(bill, amount, description);
    return;
  }
  const uint64_t number = xxh64(customer_id + "/" + std::to_string(ids.size())) & 0xFFFFFFFF;
  Json bill = new_bill(fmt::format("B{:08x}", number), customer_id, kNextMonth, "Draft");
  add_item(bill, amount, description);
  add_bill(telecom, std::move(bill));
}

Json refuel_data(Telecom& telecom, const Json& arguments) {
  Json& line = target_line(telecom, arguments);
  const double gb = number_argument(arguments, "gb_amount");
  if (gb <= 0) tau2_refuse("The amount of data must be above 0");
  const double price =
      telecom.plan(line.at("plan_id").as_string()).at("data_refueling_price_per_gb").as_double();
  const double total = line.at("data_refueling_gb").as_double() + gb, cost = gb * price;
  line["data_refueling_gb"] = total;
  const std::string shown = python_json(arguments.at("gb_amount"));
  Json out = Json::object();
  out["message"] = fmt::format("{} GB were added to line {} for ${:.2f}", shown,
                               line.at("line_id").as_string(), cost);
  out["new_data_refueling_gb"] = python_float(total);
  out["charge"] = python_float(cost);
  charge(telecom, id_argument(arguments, "customer_id"), cost,
         "Refueled data: " + shown + " GB at $" + python_float(price) + " a GB");
  return out;
}

Json suspend_for_overdue_bill(Telecom& telecom, const Json& arguments) {
  Json& line = telecom.line(id_argument(arguments, "line_id"));
  if (line.at("status") != Json("Active")) tau2_refuse("The line is not active");
  const double price =
      telecom.plan(line.at("plan_id").as_string()).at("price_per_month").as_double();
  if (price <= 0) tau2_refuse("The plan costs nothing");
  const std::string customer_id = id_argument(arguments, "customer_id");
  for (const Json& id : telecom.customer(customer_id).at("bill_ids").as_array())
    if (telecom.bill(id.as_string()).at("status") == Json("Overdue"))
      tau2_refuse("The customer has an overdue bill already");
  Json bill = new_bill(id_argument(arguments, "new_bill_id"), customer_id, kLastMonth, "Overdue");
  add_item(bill, price, "Charge for line " + line.at("line_id").as_string());
  add_bill(telecom, std::move(bill));
  line["status"] = "Suspended";
  line["suspension_start_date"] = kToday;
  if (flag_argument(arguments, "contract_ended")) line["contract_end_date"] = kLastMonth.end;
  return "The line is suspended";
}

Json plan_ids(Telecom& telecom, const Json&) {
  Json out = Json::array();
  for (const Json& plan : telecom.company.at("plans").as_array()) out.push_back(plan.at("plan_id"));
  return out;
}

Json assert_refueled(Telecom& telecom, const Json& arguments) {
  const double gb = target_line(telecom, arguments).at("data_refueling_gb").as_double();
  return std::abs(gb - number_argument(arguments, "expected_amount")) < kAmountTolerance;
}

Json assert_overdue(Telecom& telecom, const Json& arguments) {
  const std::string id = id_argument(arguments, "overdue_bill_id");
  const Json ids = telecom.customer(id_argument(arguments, "customer_id")).at("bill_ids");
  const bool owned = std::any_of(ids.as_array().begin(), ids.as_array().end(),
                                 [&](const Json& one) { return one == Json(id); });
  if (!owned || telecom.bill(id).at("status") != Json("Overdue"))
    tau2_refuse("The customer has no overdue bill " + id);
  return true;
}

// Paid, or not there at all.
Json assert_not_overdue(Telecom& telecom, const Json& arguments) {
  for (const Json& bill : telecom.company.at("bills").as_array())
    if (bill.at("bill_id") == arguments.at("overdue_bill_id"))
      return bill.at("status") == Json("Paid");
  return true;
}

const Tau2Parameter kCustomer = {"customer_id", "Whose line or bill it is."};
const Tau2Parameter kLine = {"line_id", "Which line of the customer's."};

Tau2Functions<Telecom> lookups() {
  return {{{"get_customer_by_phone",
            "Finds the customer with this phone number, their own or a line's.",
            {{"phone_number", "The number."}}},
           [](Telecom& telecom, const Json& arguments) {
             return telecom.customer_by_phone(text_argument(arguments, "phone_number"));
           }},
          {{"get_customer_by_id", "Returns a customer.", {{"customer_id", "Which customer."}}},
           [](Telecom& telecom, const Json& arguments) {
             return telecom.customer(text_argument(arguments, "customer_id"));
           }},
          {{"get_customer_by_name",
            "Finds the customers with this name and date of birth.",
            {{"full_name", "First and last name."}, {"dob", "Date of birth, as YYYY-MM-DD."}}},
           customers_by_name},
          {{"get_details_by_id",
            "Returns the customer, line, device, bill or plan with this id.",
            {{"id", "Its id."}}},
           details}};
}

Tau2Functions<Telecom> changes() {
  return {
      {{"suspend_line",
        "Suspends an active line, for at most 6 months.",
        {kCustomer, kLine, {"reason", "Why."}}},
       suspend_line},
      {{"resume_line",
        "Makes a line active again that is suspended or waits for activation.",
        {kCustomer, kLine}},
       resume_line},
      {{"get_bills_for_customer",
        "Returns a customer's bills, the newest first.",
        {{"customer_id", "Which customer."},
         {"limit", "At most so many; 12 where it is left out.", "integer", false}}},
       bills_of},
      {{"send_payment_request",
        "Asks a customer to pay a bill, which then awaits payment. No other bill of theirs may "
        "await it. Whether the bill is paid already is not checked: look first.",
        {kCustomer, {"bill_id", "Which bill of the customer's."}}},
       send_payment_request},
      {{"get_data_usage",
        "Returns what a line used in this billing cycle, its plan's limit, what was refueled, and "
        "when the cycle ends.",
        {kCustomer, kLine}},
       data_usage},
      {{"enable_roaming", "Turns international roaming of a line on.", {kCustomer, kLine}},
       [](Telecom& telecom, const Json& arguments) {
         return set_roaming(telecom, arguments, Roaming::kOn);
       }},
      {{"disable_roaming", "Turns international roaming of a line off.", {kCustomer, kLine}},
       [](Telecom& telecom, const Json& arguments) {
         return set_roaming(telecom, arguments, Roaming::kOff);
       }},
      {tau2_transfer(), [](Telecom&, const Json&) { return Json(kTau2Transferred); }},
      {{"refuel_data",
        "Adds data to a line for this billing cycle, at its plan's price, on the customer's next "
        "bill.",
        {kCustomer, kLine, {"gb_amount", "How many gigabytes.", "number"}}},
       refuel_data}};
}

Tau2Functions<Telecom> states_and_assertions() {
  return {
      {{"get_available_plan_ids", "", {}}, plan_ids},
      {{"set_data_usage", "", {kCustomer, kLine, {"data_used_gb", ""}}}, set_data_usage},
      {{"suspend_line_for_overdue_bill",
        "",
        {kCustomer, kLine, {"new_bill_id", ""}, {"contract_ended", ""}}},
       suspend_for_overdue_bill},
      {{"assert_data_refueling_amount", "", {kCustomer, kLine, {"expected_amount", ""}}},
       assert_refueled},
      {{"assert_line_status", "", {kCustomer, kLine, {"expected_status", ""}}},
       [](Telecom& telecom, const Json& arguments) {
         return Json(target_line(telecom, arguments).at("status") ==
                     arguments.at("expected_status"));
       }},
      {{"assert_overdue_bill_exists", "", {kCustomer, {"overdue_bill_id", ""}}}, assert_overdue},
      {{"assert_no_overdue_bill", "", {{"overdue_bill_id", ""}}}, assert_not_overdue}};
}

}  // namespace

const Tau2Functions<Telecom>& telecom_agent_functions() {
  static const Tau2Functions<Telecom> functions = [] {
    Tau2Functions<Telecom> out = lookups();
    for (Tau2Functions<Telecom> more : {changes(), states_and_assertions()})
      std::move(more.begin(), more.end(), std::back_inserter(out));
    return out;
  }();
  return functions;
}

}  // namespace dure
