//! An object store in memory that outlives the processes that use it, and answers them as it likes.

use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::faults::{Place, after, before};

/// The store.
#[derive(Debug, Clone, Default)]
pub(super) struct FickleStore(Arc<InMemory>);

impl fmt::Display for FickleStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fickle")
    }
}

fn away(_: ()) -> object_store::Error {
    object_store::Error::Generic {
        store: "fickle",
        source: "the store is away".into(),
    }
}

async fn ready() -> Result<()> {
    before(Place::Store).await.map_err(away)
}

async fn answered() -> Result<()> {
    after(Place::Store).await.map_err(away)
}

#[async_trait::async_trait]
impl ObjectStore for FickleStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        ready().await?;
        let put = self.0.put_opts(location, payload, options).await;
        answered().await?;
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        ready().await?;
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = Arc::clone(&self.0);
        let delete = move |location: Result<Path>| {
            let store = Arc::clone(&store);
            async move {
                let location = location?;
                ready().await?;
                let deleted = store.delete(&location).await;
                answered().await?;
                deleted.map(|()| location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (Arc::clone(&self.0), prefix.cloned());
        let listed = async move {
            ready().await?;
            let objects: Vec<_> = store.list(prefix.as_ref()).collect().await;
            let listed: Result<_> = Ok(stream::iter(objects));
            listed
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        ready().await?;
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        ready().await?;
        let copied = self.0.copy_opts(from, to, options).await;
        answered().await?;
        copied
    }
}
