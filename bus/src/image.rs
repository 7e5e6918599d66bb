//! What can be asked of images: records that are referred to, not executed.

use crate::{Check::*, messages};
use switchback_events::ImageId;

messages! {
    /// Records an image.
    Command AddImage "POST" "/images" => "image" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// Where it is.
        url: String = Text(2048),
        /// What it is for.
        media_type: Option<String> = Enum(&["RootVolumeTemplate", "DataVolumeTemplate", "ISO"]),
        /// Its format.
        format: Option<String> = Text(255),
        /// For routers only: user VMs may not be made of it.
        system: Option<bool> = Bool,
    }
    /// Changes an image's name or description.
    Command UpdateImage "PUT" "/images/{uuid}/actions" => "image" for Administrator {
        /// The image.
        uuid: ImageId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes an image. One that is not there is a success; one that is in use names its blockers.
    Command DeleteImage "DELETE" "/images/{uuid}" => "" for Administrator {
        /// The image.
        uuid: ImageId = Uuid,
    }
}
