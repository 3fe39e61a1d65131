//! What the Khronos validation layer says, counted: every message is a failure of this program.

use std::ffi::{CStr, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ash::vk;

/// How many messages are printed; the rest are only counted.
const PRINTED: u64 = 10;

/// The count, which outlives the device so that what is said while it is closed counts too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages(Arc<AtomicU64>);

impl Messages {
    /// How many so far.
    pub(crate) fn count(&self) -> u64 {
        // Relaxed: the layer calls back on the thread that calls it, and this one calls it.
        self.0.load(Ordering::Relaxed)
    }

    /// The messenger that counts here. It may be used as long as some clone of `self` lives.
    pub(super) fn messenger(&self) -> vk::DebugUtilsMessengerCreateInfoEXT<'static> {
        use vk::{DebugUtilsMessageSeverityFlagsEXT as Severity, DebugUtilsMessageTypeFlagsEXT as Type};
        vk::DebugUtilsMessengerCreateInfoEXT::default()
            .message_severity(Severity::ERROR | Severity::WARNING)
            .message_type(Type::VALIDATION | Type::PERFORMANCE)
            .pfn_user_callback(Some(on_message))
            .user_data(Arc::as_ptr(&self.0).cast_mut().cast())
    }
}

/// Called by the layer for each message.
///
/// # Safety
/// `user` is the pointer that `Messages::messenger` put there, and its count is alive.
unsafe extern "system" fn on_message(
    _: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    user: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: by this function's contract `user` points to a live AtomicU64, which is only ever used by shared reference.
    let count = unsafe { &*user.cast_const().cast::<AtomicU64>() };
    if count.fetch_add(1, Ordering::Relaxed) < PRINTED && !data.is_null() {
        // SAFETY: not null, and Vulkan hands a valid struct for the length of the call.
        let text = unsafe { (*data).p_message };
        if !text.is_null() {
            // SAFETY: not null, and Vulkan promises a null-terminated string for the length of the call.
            eprintln!("validation: {}", unsafe { CStr::from_ptr(text) }.to_string_lossy());
        }
    }
    vk::FALSE
}
