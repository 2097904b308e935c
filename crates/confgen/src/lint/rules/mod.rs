//! The rules: one file and one line each, in the order of their codes.

mod accept_mutex;
mod access_not_granted;
mod default_interpreter;
mod display_name;
mod django_settings_clash;
mod embedded_not_restricted;
mod endless_timeout;
mod fallback_to_application;
mod flush_with_rate_limit;
mod group_defined_later;
mod group_of_other_host;
mod loaded_twice;
mod log_format_typo;
mod long_queue;
mod lost_bodies;
mod many_embedded_copies;
mod many_threads;
mod no_locale;
mod no_startup_timeout;
mod odd_quotes;
mod old_access_control;
mod one_process_by_number;
mod one_request_at_a_time;
mod one_request_per_process;
mod passwords_for_all;
mod powerful_user;
mod process_wide_option;
mod python_home_is_no_home;
mod python_path_without_effect;
mod removed_directive;
mod repeated_group;
mod repeated_process_group;
mod request_timeout;
mod restrictions_off;
mod rewrite_without_pass_through;
mod rotated_sockets;
mod script_handlers;
mod served_scripts;
mod settings_by_default;
mod several_client_headers;
mod shared_error_log;
mod site_packages_in_path;
mod slash_mismatch;
mod small_header_buffer;
mod small_stack;
mod socket_prefix;
mod static_python_library;
mod sub_interpreter;
mod talkative_server;
mod two_process_groups;
mod undefined_group;
mod ungraceful_recycling;
mod unlimited_bodies;
mod untrusted_proxy_headers;
mod unused_group;
mod variables_for_requests;
mod wrong_place;
mod wrong_python;

use super::Rule;

/// Every rule.
pub const RULES: &[Rule] = &[
    default_interpreter::RULE,
    untrusted_proxy_headers::RULE,
    several_client_headers::RULE,
    repeated_process_group::RULE,
    two_process_groups::RULE,
    undefined_group::RULE,
    group_of_other_host::RULE,
    group_defined_later::RULE,
    repeated_group::RULE,
    unused_group::RULE,
    embedded_not_restricted::RULE,
    sub_interpreter::RULE,
    django_settings_clash::RULE,
    settings_by_default::RULE,
    python_home_is_no_home::RULE,
    site_packages_in_path::RULE,
    python_path_without_effect::RULE,
    one_process_by_number::RULE,
    many_threads::RULE,
    endless_timeout::RULE,
    request_timeout::RULE,
    ungraceful_recycling::RULE,
    no_startup_timeout::RULE,
    long_queue::RULE,
    small_stack::RULE,
    small_header_buffer::RULE,
    flush_with_rate_limit::RULE,
    lost_bodies::RULE,
    socket_prefix::RULE,
    rotated_sockets::RULE,
    no_locale::RULE,
    powerful_user::RULE,
    display_name::RULE,
    restrictions_off::RULE,
    removed_directive::RULE,
    wrong_python::RULE,
    process_wide_option::RULE,
    rewrite_without_pass_through::RULE,
    fallback_to_application::RULE,
    served_scripts::RULE,
    access_not_granted::RULE,
    old_access_control::RULE,
    script_handlers::RULE,
    one_request_at_a_time::RULE,
    slash_mismatch::RULE,
    passwords_for_all::RULE,
    unlimited_bodies::RULE,
    talkative_server::RULE,
    wrong_place::RULE,
    variables_for_requests::RULE,
    accept_mutex::RULE,
    many_embedded_copies::RULE,
    one_request_per_process::RULE,
    shared_error_log::RULE,
    static_python_library::RULE,
    log_format_typo::RULE,
    odd_quotes::RULE,
    loaded_twice::RULE,
];

#[cfg(test)]
mod tests;
