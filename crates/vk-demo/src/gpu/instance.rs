//! The Vulkan instance: the loader found at run time, and the validation layer where it is asked for.

use std::ffi::CStr;
use std::fmt;

use ash::{ext, vk};

use super::messages::Messages;

const VALIDATION_LAYER: &CStr = c"VK_LAYER_KHRONOS_validation";

/// Why there is no instance.
#[derive(Clone, Debug)]
pub(crate) enum NoInstance {
    /// No loader, no driver or too old a loader: the host device takes over.
    NoVulkan(String),
    /// The validation layer was asked for and is not installed.
    NoValidationLayer,
}

impl fmt::Display for NoInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoInstance::NoVulkan(why) => f.write_str(why),
            NoInstance::NoValidationLayer => {
                write!(f, "the Khronos validation layer (VK_LAYER_KHRONOS_validation) is not installed")
            }
        }
    }
}

/// An instance and, under validation, its messenger; both are destroyed with it.
pub(crate) struct Instance {
    pub(super) raw: ash::Instance,
    /// The version it was made for: no device is used beyond it.
    pub(super) version: u32,
    /// Whether the validation layer listens.
    pub(super) validated: bool,
    messenger: Option<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)>,
    /// Keeps the count alive that the messenger points to.
    _messages: Messages,
    /// Keeps the loader's library open under all of the above.
    _entry: ash::Entry,
}

impl Instance {
    /// Finds the loader and makes an instance; with `messages`, under the validation layer.
    pub(crate) fn new(messages: Option<&Messages>) -> Result<Instance, NoInstance> {
        // SAFETY: the library of this name is the Vulkan loader, whose initialisers may be run at any time.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| NoInstance::NoVulkan(format!("no Vulkan loader ({error})")))?;
        let version = version(&entry)?;
        let application =
            vk::ApplicationInfo::default().application_name(c"vk-demo").engine_name(c"pgmap-alloc").api_version(version);

        let layer = [VALIDATION_LAYER.as_ptr()];
        let mut extensions = Vec::new();
        let mut messenger = messages.map(Messages::messenger);
        let checks = [vk::ValidationFeatureEnableEXT::SYNCHRONIZATION_VALIDATION];
        let mut features = vk::ValidationFeaturesEXT::default().enabled_validation_features(&checks);
        let mut info = vk::InstanceCreateInfo::default().application_info(&application);
        if let Some(messenger) = &mut messenger {
            let offered = layer_extensions(&entry)?;
            let offers = |name: &CStr| offered.iter().any(|offer| offer.extension_name_as_c_str() == Ok(name));
            extensions.push(ext::debug_utils::NAME.as_ptr());
            info = info.enabled_layer_names(&layer).push_next(messenger);
            if offers(ext::validation_features::NAME) {
                extensions.push(ext::validation_features::NAME.as_ptr());
                info = info.push_next(&mut features);
            }
        }
        let info = info.enabled_extension_names(&extensions);

        // SAFETY: every pointer in `info` is to a local that outlives the call; the layer and its extensions were found.
        let raw = unsafe { entry.create_instance(&info, None) }.map_err(|error| match error {
            vk::Result::ERROR_LAYER_NOT_PRESENT => NoInstance::NoValidationLayer,
            vk::Result::ERROR_INCOMPATIBLE_DRIVER => NoInstance::NoVulkan(no_driver()),
            error => NoInstance::NoVulkan(format!("no Vulkan instance ({error})")),
        })?;
        let mut instance = Instance {
            raw,
            version,
            validated: messages.is_some(),
            messenger: None,
            _messages: messages.cloned().unwrap_or_default(),
            _entry: entry,
        };
        if let Some(messages) = messages {
            instance.listen(messages)?;
        }
        Ok(instance)
    }

    /// Sets the messenger for everything between the instance's making and its end.
    fn listen(&mut self, messages: &Messages) -> Result<(), NoInstance> {
        let debug = ext::debug_utils::Instance::new(&self._entry, &self.raw);
        // SAFETY: the extension is enabled; the count it points to is held by `self._messages` and dropped after the messenger.
        let messenger = unsafe { debug.create_debug_utils_messenger(&messages.messenger(), None) }
            .map_err(|error| NoInstance::NoVulkan(format!("no debug messenger ({error})")))?;
        self.messenger = Some((debug, messenger));
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some((debug, messenger)) = self.messenger.take() {
            // SAFETY: made from this instance, which still lives, and destroyed once.
            unsafe { debug.destroy_debug_utils_messenger(messenger, None) };
        }
        // SAFETY: every device made from it holds an Rc of it, so none is left.
        unsafe { self.raw.destroy_instance(None) };
    }
}

/// A loader that finds no driver was perhaps told where to look.
fn no_driver() -> String {
    let told = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    match told {
        Some((name, value)) => format!("a Vulkan loader but no driver ({name} is {value:?})"),
        None => "a Vulkan loader but no driver".into(),
    }
}

/// The version to ask for: what the loader knows, and no more than this program was written for.
fn version(entry: &ash::Entry) -> Result<u32, NoInstance> {
    // SAFETY: a call without arguments into the loaded library.
    let offered = unsafe { entry.try_enumerate_instance_version() }
        .map_err(|error| NoInstance::NoVulkan(format!("the Vulkan loader has no version ({error})")))?
        .unwrap_or(vk::API_VERSION_1_0);
    if offered < vk::API_VERSION_1_2 {
        return Err(NoInstance::NoVulkan("the Vulkan loader is older than 1.2".into()));
    }
    Ok(offered.min(vk::API_VERSION_1_3))
}

/// The extensions of the validation layer, if it is installed.
fn layer_extensions(entry: &ash::Entry) -> Result<Vec<vk::ExtensionProperties>, NoInstance> {
    // SAFETY: the layer's name is a null-terminated constant.
    unsafe { entry.enumerate_instance_extension_properties(Some(VALIDATION_LAYER)) }.map_err(|error| match error {
        vk::Result::ERROR_LAYER_NOT_PRESENT => NoInstance::NoValidationLayer,
        error => NoInstance::NoVulkan(format!("the layers cannot be listed ({error})")),
    })
}
