// grade/tau2/telecom.h: tau2's telecom domain: a company's customers, lines, plans, devices and
// bills, and the phone of one customer.
//
// Owns the state of both sides and what one means on the other: a line that is not active, does not
// roam or has used up its data shows on the phone; a bill that waits for payment is a request
// there, and paid there is paid here. Not here: the assistant's functions (telecom_agent.cc), the
// user's (telecom_user.cc), the phone (phone.h).
//
// Source: sierra-research/tau2-bench, domains/telecom: data_model.py and tools.py (commits
// 2b80cb1f, f2397bb9), environment.py (679773e5); its days are those of utils.py (ea304637). A bill
// that it makes has an id that follows from the customer's bills instead of a random one.
#pragma once

#include "grade/tau2/function_table.h"
#include "grade/tau2/phone.h"

namespace dure {

struct Telecom {
  Json company;  // {"plans", "customers", "lines", "bills", "devices"}, in the form of its records
  PhoneWorld user;

  void settle();
  void update(Tau2Side side, const Json& data);
  bool same(const Telecom& other) const;

  // Of the company's records; refused where there is none.
  Json& customer(const std::string& id);
  Json& line(const std::string& id);
  Json& plan(const std::string& id);
  Json& device(const std::string& id);
  Json& bill(const std::string& id);
  Json& line_of(const std::string& customer_id, const std::string& line_id);
  // By their digits alone; a customer's lines are looked through, too.
  Json& line_by_phone(const std::string& number);
  Json& customer_by_phone(const std::string& number);

 private:
  Json& record(const char* kind, const char* id_field, const std::string& id, const char* what);
};

const Tau2Functions<Telecom>& telecom_agent_functions();
const Tau2Functions<Telecom>& telecom_user_functions();

}  // namespace dure
